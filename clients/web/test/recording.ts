import { readFileSync } from "node:fs";
import { readStats, type Bindings, type Snapshot, type Stat } from "../src/stats.js";

/** One poll of a recording: the local time, and the entries of getStats as Chromium gave them. */
export interface Poll {
  at: number;
  stats: Stat[];
}

/**
 * A call of two Chromium pages, 320×240 at 15 fps and Opus, whose sender paused both streams for two seconds
 * (`encodings[0].active`), polled once a second.
 */
export function recording(side: "sender" | "receiver"): Poll[] {
  const url = new URL(`../../test/fixtures/chromium-pause-${side}.jsonl`, import.meta.url);
  return readFileSync(url, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Poll);
}

/** Media line 0 is sound, 1 the camera, both ways, and the peer is `bob`. */
export const bindings: Bindings = {
  local: (mid) => ({ type: mid === "0" ? "audio" : "big", muted: false }),
  remote: (mid) => ({ userId: "bob", type: mid === "0" ? "audio" : "big", muted: false, playing: true }),
};

/** The recording as snapshots whose first one is `start`, server time. */
export function snapshots(polls: Poll[], start: number, of: Bindings = bindings): Snapshot[] {
  return polls.map((poll) => ({
    at: start + poll.at - polls[0]!.at,
    scheduled: false,
    ...readStats(poll.stats, of),
  }));
}
