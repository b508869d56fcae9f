import { type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from "react";

import { BUCKET_MS, type Numbers, type Point } from "../api";
import { timeOfDay, UNKNOWN, zoneChoice } from "../format";
import { usePreference } from "../preference";
import { summary } from "../summary";
import { useTheme } from "../theme";
import { echarts, type EChart, GROUP, lineOption } from "./line";

export interface Measure {
  field: keyof Numbers;
  title: string;
  id: string;
  /** Writes a value with its unit. */
  write: (value: number | null) => string;
  /** The same for an axis. */
  writeShort: (value: number) => string;
  /** Name of a colour of the style sheet. */
  colour: string;
  /** From where a rate is moderately high, and high. */
  limits?: readonly [number, number];
}

interface Props {
  measure: Measure;
  points: Point[] | null;
  onPause: (bucketMs: number) => void;
}

/** One line over time, with a title, a sentence that sums it up, and the same numbers as a table. */
export function Chart({ measure, points, onPause }: Props) {
  const id = useId();
  const zone = usePreference(zoneChoice);
  const [asTable, setAsTable] = useState(false);
  const words = useMemo(() => (points ? summary(points, measure) : "Loading …"), [points, measure, zone]);

  return (
    <figure className="panel chart" aria-labelledby={`${id}-title`} data-testid={`chart-${measure.id}`}>
      <div className="heading">
        <h3 id={`${id}-title`}>{measure.title}</h3>
        <button type="button" className="quiet" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          Table
          <span className="hidden"> of {measure.title}</span>
        </button>
      </div>
      {asTable ? (
        <PointTable measure={measure} points={points ?? []} />
      ) : (
        <Plot measure={measure} points={points} onPause={onPause} describedBy={`${id}-words`} />
      )}
      <figcaption id={`${id}-words`} data-testid="summary">
        {words}
      </figcaption>
    </figure>
  );
}

/** The picture. By keyboard: arrows go from point to point, Enter pauses the page there, as a double click does. */
function Plot({ measure, points, onPause, describedBy }: Props & { describedBy: string }) {
  const theme = useTheme();
  const zone = usePreference(zoneChoice);
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<EChart | null>(null);
  const pause = useRef(onPause);
  pause.current = onPause;
  /** The time of the point that the keyboard is at, null while it is elsewhere. */
  const [cursor, setCursor] = useState<number | null>(null);

  useEffect(() => {
    if (!place.current) return;
    const made = echarts.init(place.current, null, { renderer: "canvas" });
    chart.current = made;
    made.group = GROUP;
    made.getZr().on("dblclick", ({ offsetX, offsetY }) => {
      if (!made.containPixel("grid", [offsetX, offsetY])) return;
      const [time] = made.convertFromPixel("grid", [offsetX, offsetY]) as [number, number];
      pause.current(Math.round(time / BUCKET_MS) * BUCKET_MS);
    });
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => {
    if (points) chart.current?.setOption(lineOption(measure, points), { replaceMerge: ["series"] });
    // The theme decides the colours that the option reads from the style sheet, the zone how times are written.
  }, [points, measure, theme, zone]);

  useEffect(() => {
    if (cursor === null) return;
    const [x, y] = chart.current?.convertToPixel("grid", [cursor, 0]) ?? [0, 0];
    chart.current?.dispatchAction({ type: "showTip", x: x ?? 0, y: (y ?? 0) - 1 });
  }, [cursor, points]);

  const last = (points?.length ?? 1) - 1;
  const newestSettled = points?.findLastIndex((point) => !point.Provisional) ?? last;
  const found = points?.findIndex((point) => point.BucketTime === cursor) ?? -1;
  const index = found === -1 ? Math.max(0, newestSettled) : found;
  const point = points?.[index];

  const onKeyDown = (event: KeyboardEvent) => {
    const target = { ArrowLeft: index - 1, ArrowRight: index + 1, PageUp: index - 30, PageDown: index + 30, Home: 0, End: last }[event.key];
    if (target !== undefined) {
      setCursor(points?.[Math.min(last, Math.max(0, target))]?.BucketTime ?? null);
      event.preventDefault();
    } else if (event.key === "Enter" && point) {
      onPause(point.BucketTime);
    }
  };

  return (
    <div
      className="canvas"
      ref={place}
      role="slider"
      aria-roledescription="chart"
      aria-label={measure.title}
      aria-describedby={describedBy}
      aria-valuemin={0}
      aria-valuemax={last}
      aria-valuenow={index}
      aria-valuetext={point ? `${timeOfDay(point.BucketTime)}: ${spoken(measure, point)}` : "loading"}
      tabIndex={0}
      onKeyDown={onKeyDown}
      onBlur={() => {
        if (cursor !== null) {
          chart.current?.dispatchAction({ type: "hideTip" });
          chart.current?.dispatchAction({ type: "updateAxisPointer", currTrigger: "leave" });
        }
        setCursor(null);
      }}
    />
  );
}

function spoken(measure: Measure, point: Point): string {
  const value = point[measure.field];
  return value === null ? "unknown" : measure.write(value) + (point.Provisional ? ", provisional" : "");
}

function PointTable({ measure, points }: { measure: Measure; points: Point[] }) {
  return (
    <div className="canvas scroller" tabIndex={0} role="region" aria-label={`${measure.title} as a table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">10 s from</th>
            <th scope="col" className="number">
              {measure.title}
            </th>
          </tr>
        </thead>
        <tbody>
          {points.toReversed().map((point) => {
            const value = point[measure.field];
            return (
              <tr key={point.BucketTime}>
                <th scope="row">{timeOfDay(point.BucketTime)}</th>
                <td className="number">
                  {point.Provisional && value !== null && <span className="badge">provisional</span>}{" "}
                  {value === null ? (
                    <>
                      <span aria-hidden="true">{UNKNOWN}</span>
                      <span className="hidden">unknown</span>
                    </>
                  ) : (
                    measure.write(value)
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
