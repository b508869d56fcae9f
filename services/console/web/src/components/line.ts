import { LineChart, type LineSeriesOption } from "echarts/charts";
import {
  GridComponent,
  type GridComponentOption,
  MarkLineComponent,
  type MarkLineComponentOption,
  TooltipComponent,
  type TooltipComponentOption,
} from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

import { BUCKET_MS, type Point } from "../api";
import { timeOfDay } from "../format";
import type { Measure } from "./Chart";

echarts.use([LineChart, GridComponent, MarkLineComponent, TooltipComponent, CanvasRenderer]);
export { echarts };
export type EChart = echarts.EChartsType;

/** Charts of one group show their tooltips together. */
export const GROUP = "board";
echarts.connect(GROUP);

type Option = echarts.ComposeOption<
  GridComponentOption | TooltipComponentOption | LineSeriesOption | MarkLineComponentOption
>;
type Value = [time: number, value: number | null];

/** A line with gaps where nothing is known, dashed where buckets may still grow. */
export function lineOption(measure: Measure, points: readonly Point[]): Option {
  const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const { settled, provisional } = split(measure, points);
  const text = { color: colour("--muted"), fontSize: 11 };
  const line = colour("--line");
  const shared: LineSeriesOption = {
    type: "line",
    connectNulls: false,
    symbol: "circle",
    color: colour(measure.colour),
    emphasis: { disabled: true },
  };
  return {
    animation: false,
    grid: { left: 8, right: 14, top: 14, bottom: 4, containLabel: true },
    tooltip: {
      trigger: "axis",
      confine: true,
      transitionDuration: 0,
      backgroundColor: colour("--panel"),
      borderColor: line,
      textStyle: { color: colour("--text"), fontSize: 12 },
      axisPointer: { type: "line", lineStyle: { color: colour("--muted"), type: "dotted" } },
      formatter: (hovered) => tooltip(measure, points, hovered),
    },
    xAxis: {
      type: "time",
      min: points[0]?.BucketTime ?? 0,
      max: points.at(-1)?.BucketTime ?? 0,
      splitNumber: 6,
      axisLabel: { ...text, hideOverlap: true, formatter: (time: number) => timeOfDay(time).slice(0, 5) },
      axisLine: { lineStyle: { color: line } },
      axisTick: { lineStyle: { color: line } },
    },
    yAxis: {
      type: "value",
      min: 0,
      // A rate is shown against the limit that it should stay below.
      max: ({ max }: { max: number }) => Math.max(measure.limits ? measure.limits[0] * 1.2 : 1, nice(max)),
      minInterval: measure.limits ? 0 : 1,
      splitNumber: 4,
      axisLabel: { ...text, showMaxLabel: false },
      splitLine: { lineStyle: { color: line } },
    },
    series: [
      {
        ...shared,
        id: "settled",
        data: settled,
        lineStyle: { width: 2 },
        symbolSize: isolated(settled),
        areaStyle: { opacity: 0.08 },
        ...(measure.limits && { markLine: limits(measure.limits, [colour("--moderate"), colour("--high")]) }),
      },
      {
        ...shared,
        id: "provisional",
        data: provisional,
        lineStyle: { width: 2, type: [3, 3] },
        symbolSize: isolated(provisional),
      },
    ],
  };
}

function split(measure: Measure, points: readonly Point[]): { settled: Value[]; provisional: Value[] } {
  const first = points.findIndex((point) => point.Provisional);
  const value = (point: Point): Value => [point.BucketTime, point[measure.field]];
  if (first === -1) return { settled: points.map(value), provisional: [] };
  // The dashed part begins at the last settled point, so that the line is whole.
  return { settled: points.slice(0, first).map(value), provisional: points.slice(Math.max(0, first - 1)).map(value) };
}

/** A point between two gaps has no line: it gets a dot. */
function isolated(values: readonly Value[]): (value: unknown, at: { dataIndex: number }) => number {
  const known = (index: number) => values[index]?.[1] != null;
  return (_, { dataIndex }) => (known(dataIndex - 1) || known(dataIndex + 1) ? 0 : 4);
}

function limits([moderate, high]: readonly [number, number], colours: [string, string]): MarkLineComponentOption {
  const at = (value: number, word: string, color: string) => ({
    yAxis: value,
    lineStyle: { color, type: "dashed" as const, width: 1 },
    label: { formatter: `${value} % ${word}`, position: "insideStartTop" as const, color, fontSize: 11 },
  });
  return {
    silent: true,
    symbol: "none",
    animation: false,
    data: [at(moderate, "moderately high", colours[0]), at(high, "high", colours[1])],
  };
}

function tooltip(measure: Measure, points: readonly Point[], hovered: unknown): string {
  const first = (Array.isArray(hovered) ? hovered[0] : hovered) as { value?: Value } | undefined;
  const point = points.find((point) => point.BucketTime === first?.value?.[0]);
  if (!point) return "";
  const span = `${timeOfDay(point.BucketTime)} – ${timeOfDay(point.BucketTime + BUCKET_MS)}`;
  const mark = point.Provisional ? " (provisional)" : "";
  return `${span}<br><strong>${measure.write(point[measure.field])}</strong>${mark}`;
}

function nice(max: number): number {
  if (!Number.isFinite(max) || max <= 0) return 0;
  const step = 10 ** Math.floor(Math.log10(max)) / 2;
  return Math.ceil((max * 1.1) / step) * step;
}
