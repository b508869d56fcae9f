import { LineChart, type LineSeriesOption } from "echarts/charts";
import {
  GridComponent,
  type GridComponentOption,
  MarkLineComponent,
  type MarkLineComponentOption,
  TooltipComponent,
  type TooltipComponentOption,
  VisualMapPiecewiseComponent,
  type VisualMapComponentOption,
} from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

import { BUCKET_MS, type Point } from "../api";
import { timeOfDay, UNKNOWN, zoneChoice } from "../format";
import type { Measure } from "./Chart";
import { type Scale, scaleFor } from "./scale";

echarts.use([LineChart, GridComponent, MarkLineComponent, TooltipComponent, VisualMapPiecewiseComponent, CanvasRenderer]);
export { echarts };
export type EChart = echarts.EChartsType;

/** Charts of one group show their tooltips together. */
export const GROUP = "board";
echarts.connect(GROUP);

type Option = echarts.ComposeOption<
  | GridComponentOption
  | TooltipComponentOption
  | LineSeriesOption
  | MarkLineComponentOption
  | VisualMapComponentOption
>;
type Value = [time: number, value: number | null];

/** A line with gaps where nothing is known, dashed where buckets may still grow, coloured by severity where it has one. */
export function lineOption(measure: Measure, points: readonly Point[]): Option {
  const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const { settled, provisional } = split(measure, points);
  const { limits } = measure;
  const highest = Math.max(limits ? limits[0] * 1.2 : 1, ...points.map((point) => point[measure.field] ?? 0));
  const scale = scaleFor(highest, limits === undefined);
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
    useUTC: zoneChoice.value === "utc",
    grid: { left: 0, right: 10, top: 10, bottom: 0, containLabel: true },
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
      ...scale,
      axisLabel: { ...text, formatter: measure.writeShort },
      splitLine: { lineStyle: { color: line } },
    },
    ...(limits && { visualMap: bySeverity(limits, [colour("--low"), colour("--moderate-line"), colour("--high")]) }),
    series: [
      {
        ...shared,
        id: "settled",
        data: settled,
        lineStyle: { width: 2 },
        symbolSize: isolated(settled),
        areaStyle: { opacity: 0.09 },
        ...(limits && { markLine: limitLines(limits, scale, [colour("--moderate"), colour("--high")]) }),
      },
      {
        ...shared,
        id: "provisional",
        data: provisional,
        lineStyle: { width: 2, type: [2, 3] },
        symbolSize: isolated(provisional),
      },
    ],
  };
}

function bySeverity([moderate, high]: readonly [number, number], colours: [string, string, string]): VisualMapComponentOption {
  return {
    type: "piecewise",
    show: false,
    dimension: 1,
    seriesIndex: [0, 1],
    pieces: [
      { lt: moderate, color: colours[0] },
      { gte: moderate, lt: high, color: colours[1] },
      { gte: high, color: colours[2] },
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

/** The limits that lie within the scale; where they are close together only the upper one is named. */
function limitLines([moderate, high]: readonly [number, number], { max }: Scale, colours: [string, string]): MarkLineComponentOption {
  const room = (high - moderate) / max > 0.1;
  const at = (value: number, word: string, color: string) => ({
    yAxis: value,
    lineStyle: { color, type: "dashed" as const, width: 1 },
    label: { show: word !== "", formatter: `${value} % ${word}`, position: "insideStartTop" as const, color, fontSize: 11 },
  });
  return {
    silent: true,
    symbol: "none",
    animation: false,
    data: [at(moderate, room || high > max ? "moderately high" : "", colours[0]), at(high, "high", colours[1])].filter(
      ({ yAxis }) => yAxis <= max,
    ),
  };
}

function tooltip(measure: Measure, points: readonly Point[], hovered: unknown): string {
  const first = (Array.isArray(hovered) ? hovered[0] : hovered) as { value?: Value } | undefined;
  const point = points.find((point) => point.BucketTime === first?.value?.[0]);
  if (!point) return "";
  const span = `${timeOfDay(point.BucketTime)} – ${timeOfDay(point.BucketTime + BUCKET_MS)}`;
  const value = measure.write(point[measure.field]);
  const mark = value === UNKNOWN ? " unknown" : point.Provisional ? " provisional" : "";
  return `${span}<br><strong>${value}</strong>${mark}`;
}
