import { useEffect, useId, useMemo, useRef, useState } from "react";

import { BUCKET_MS, type Numbers, type Point } from "../api";
import { timeOfDay, UNKNOWN } from "../format";
import { summary } from "../summary";
import { useTheme } from "../theme";
import { echarts, type EChart, GROUP, lineOption } from "./line";

export interface Measure {
  field: keyof Numbers;
  title: string;
  id: string;
  /** Writes a value with its unit. */
  write: (value: number | null) => string;
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
  const theme = useTheme();
  const [asTable, setAsTable] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<EChart | null>(null);
  const pause = useRef(onPause);
  pause.current = onPause;
  const words = useMemo(() => (points ? summary(points, measure) : "Loading …"), [points, measure]);

  useEffect(() => {
    if (asTable || !place.current) return;
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
  }, [asTable]);

  useEffect(() => {
    if (points) chart.current?.setOption(lineOption(measure, points), { replaceMerge: ["series"], lazyUpdate: true });
    // The theme decides the colours that the option reads from the style sheet.
  }, [points, measure, asTable, theme]);

  return (
    <figure className="panel chart" aria-labelledby={`${id}-title`} data-testid={`chart-${measure.id}`}>
      <div className="heading">
        <h2 id={`${id}-title`}>{measure.title}</h2>
        <button type="button" className="quiet" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? "Chart" : "Table"}
          <span className="hidden"> of {measure.title}</span>
        </button>
      </div>
      {asTable ? (
        <PointTable measure={measure} points={points ?? []} />
      ) : (
        <div className="canvas" ref={place} role="img" aria-label={`${measure.title}: ${words}`} />
      )}
      <figcaption data-testid="summary">{words}</figcaption>
    </figure>
  );
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
                  {value === null ? <span aria-label="unknown">{UNKNOWN}</span> : measure.write(value)}
                  {point.Provisional && value !== null && <span className="badge">provisional</span>}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
