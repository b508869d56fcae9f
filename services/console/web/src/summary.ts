import type { Point } from "./api";
import type { Measure } from "./components/Chart";
import { timeOfDay } from "./format";

/** A chart in a sentence, for those who do not see it and for a quick look. */
export function summary(points: readonly Point[], measure: Measure): string {
  const known = points.flatMap((point) => {
    const value = point[measure.field];
    return value === null ? [] : [{ value, time: point.BucketTime, settled: !point.Provisional }];
  });
  const newest = known.findLast((point) => point.settled) ?? known.at(-1);
  if (!newest) return "Unknown in all 64 minutes.";
  const values = known.map((point) => point.value);
  return (
    `${measure.write(newest.value)} at ${timeOfDay(newest.time)}; ` +
    `lowest ${measure.write(Math.min(...values))}, highest ${measure.write(Math.max(...values))}; ` +
    `known in ${known.length} of ${points.length} points.`
  );
}
