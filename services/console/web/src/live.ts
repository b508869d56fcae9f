import { useEffect, useState } from "react";

import { type Attempt, BUCKET_MS, type Changes, type Latest, type Point, POINTS, streamUrl } from "./api";

const SHOWN_ATTEMPTS = 50;
const SILENCE_MS = 15_000; // heartbeats come every 5 s
const AGAIN_MS = 3_000;

export interface Live {
  /** Numbers stay on the page while the stream is not open. */
  connection: "opening" | "open" | "lost";
  /** Why the console has no fresh numbers, told by the console. */
  problem: string | null;
  /** Null until the first snapshot. */
  data: LiveData | null;
}

export interface LiveData {
  now: number;
  points: ReadonlyMap<number, Point>;
  attempts: Attempt[];
  latest: Latest;
}

const NOTHING: Live = { connection: "opening", problem: null, data: null };

/** Follow an application's stream, null for none. It comes back by itself and resumes where it broke. */
export function useLive(app: number | null): Live {
  const [live, setLive] = useState<Live & { app: number | null }>({ ...NOTHING, app });

  useEffect(() => {
    setLive({ ...NOTHING, app });
    if (app === null) return;
    let source: EventSource | null = null;
    let lastEventId = "";
    let watchdog = 0;

    const change = (next: (live: Live) => Partial<Live>) => setLive((live) => ({ ...live, ...next(live), app }));
    const close = () => {
      window.clearTimeout(watchdog);
      source?.close();
      source = null;
    };
    const openAgain = () => {
      close();
      change(() => ({ connection: "lost" }));
      watchdog = window.setTimeout(open, AGAIN_MS);
    };
    const heard = () => {
      window.clearTimeout(watchdog);
      watchdog = window.setTimeout(openAgain, SILENCE_MS);
    };
    const take = (name: string, merge: (live: Live, changes: Changes) => Partial<Live>) =>
      source?.addEventListener(name, (event) => {
        heard();
        lastEventId = event.lastEventId || lastEventId; // only what changes numbers has an id
        const changes = JSON.parse(event.data) as Changes;
        change((live) => ({ connection: "open", ...merge(live, changes) }));
      });
    const open = () => {
      close();
      source = new EventSource(streamUrl(app, lastEventId));
      heard();
      take("snapshot", (_, changes) => ({ problem: changes.Problem, data: merged(null, changes) }));
      take("update", (live, changes) => ({ problem: changes.Problem, data: merged(live.data, changes) }));
      take("problem", (_, changes) => ({ problem: changes.Problem }));
      take("heartbeat", (live, { Now }) => ({ data: live.data && { ...live.data, now: Now } }));
      // A browser tries again by itself only where the connection broke, not where the answer was an error.
      source.addEventListener("error", openAgain);
    };
    // Browsers allow six connections to a host: pages that nobody sees must not hold them.
    const onVisibility = () => {
      if (document.hidden) {
        close();
        change(() => ({ connection: "opening" }));
      } else {
        open();
      }
    };

    if (!document.hidden) open();
    document.addEventListener("visibilitychange", onVisibility);
    return () => {
      document.removeEventListener("visibilitychange", onVisibility);
      close();
    };
  }, [app]);

  return live.app === app ? live : NOTHING;
}

function merged(before: LiveData | null, changes: Changes): LiveData {
  const start = windowEnd(changes.Now) - (POINTS - 1) * BUCKET_MS;
  const points = new Map([...(before?.points ?? [])].filter(([time]) => time >= start));
  for (const point of changes.Points) points.set(point.BucketTime, point);
  const attempts = new Map<string, Attempt>();
  for (const attempt of [...(before?.attempts ?? []), ...changes.Attempts]) {
    attempts.set(attempt.RequestId, attempt);
  }
  const newest = [...attempts.values()].sort((a, b) => b.StartedTime - a.StartedTime).slice(0, SHOWN_ATTEMPTS);
  return { now: changes.Now, points, attempts: newest, latest: changes.Latest };
}

/** The bucket that a time falls into. */
export function windowEnd(now: number): number {
  return now - (now % BUCKET_MS);
}

/** 384 points up to a bucket, those that are missing unknown. */
export function dense(points: ReadonlyMap<number, Point>, last: number): Point[] {
  return Array.from({ length: POINTS }, (_, index) => {
    const time = last - (POINTS - 1 - index) * BUCKET_MS;
    return points.get(time) ?? unknownPoint(time);
  });
}

function unknownPoint(time: number): Point {
  return {
    BucketTime: time,
    OnlineUsers: null,
    AbnormalUsers: null,
    OnlineRooms: null,
    VideoStutterRate: null,
    AudioStutterRate: null,
    Provisional: false,
  };
}
