import { BUCKET_MS, type Point } from "./api";
import type { Measure } from "./components/Chart";
import { timeOfDay } from "./format";

/** A chart in a sentence, for those who do not see it and for a quick look. Provisional points do not count. */
export function summary(points: readonly Point[], measure: Measure): string {
  const settled = points.filter((point) => !point.Provisional);
  const known = settled.flatMap((point) => {
    const value = point[measure.field];
    return value === null ? [] : [{ value, time: point.BucketTime }];
  });
  const newest = known.at(-1);
  if (!newest) return "Unknown in all 64 minutes.";
  const values = known.map((point) => point.value);
  const minutes = Math.round(((settled.length - known.length) * BUCKET_MS) / 60_000);
  return (
    `${measure.write(newest.value)} at ${timeOfDay(newest.time)}. ` +
    `Lowest ${measure.write(Math.min(...values))}, highest ${measure.write(Math.max(...values))}` +
    (minutes > 0 ? `, unknown for ${minutes} of 64 minutes.` : ".")
  );
}
