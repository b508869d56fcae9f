/** How bad a stutter rate is: told by colour, shape and word, since colour alone does not reach everybody. */

export type Severity = "low" | "moderate" | "high" | "unknown";
export type Medium = "video" | "audio";

/** Per cent from which a rate is moderately high, and high. */
export const LIMITS: Record<Medium, readonly [number, number]> = { video: [5, 10], audio: [3, 5] };

export function severityOf(medium: Medium, rate: number | null): Severity {
  if (rate === null) return "unknown";
  const [moderate, high] = LIMITS[medium];
  return rate < moderate ? "low" : rate < high ? "moderate" : "high";
}

export const WORD: Record<Severity, string> = {
  low: "low",
  moderate: "moderately high",
  high: "high",
  unknown: "unknown",
};

export const SHAPE: Record<Severity, string> = { low: "●", moderate: "▲", high: "■", unknown: "○" };
