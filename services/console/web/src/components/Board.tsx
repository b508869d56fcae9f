import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo } from "react";

import { type Application, type Attempt, attempts, type Latest, latestAt, type Point, pointsAt } from "../api";
import { timeOfDay, zone } from "../format";
import { dense, type Live, useLive, windowEnd } from "../live";
import { show } from "../url";
import { Callbacks } from "./Callbacks";
import { Notice } from "./Notice";
import { Rooms } from "./Rooms";
import { Tiles } from "./Tiles";

// The chart library is most of the page's weight; the tiles need not wait for it.
const Charts = lazy(() => import("./Charts"));

interface Props {
  application: Application;
  /** The bucket to stand still at, null for live. */
  at: number | null;
}

interface Shown {
  latest: Latest;
  points: Point[];
  newest: Attempt[];
}

/** One application: live, or paused at a point of time. */
export function Board({ application, at }: Props) {
  const app = application.SdkAppId;
  const live = useLive(at === null ? app : null);
  const paused = usePaused(app, at);
  const following = useFollowing(live);
  const shown = at === null ? following : paused.shown;
  const nothing = shown !== null && shown.points.every((point) => point.OnlineUsers === null);

  return (
    <>
      <Bar app={app} live={live} at={at} latest={shown?.latest ?? null} />
      {at === null && live.problem !== null && (
        <Notice kind="error" title={live.problem}>
          <p>
            {live.data ? "The numbers below are the last ones known. " : ""}This page goes on by itself as soon as they
            can be read again.
          </p>
        </Notice>
      )}
      {at === null && live.connection === "lost" && (
        <Notice kind="error" title="No connection to the console">
          <p>{live.data ? "The numbers below are the last ones known. " : ""}Trying again …</p>
        </Notice>
      )}
      {at !== null && paused.error !== null && (
        <Notice kind="error" title="The numbers of this time cannot be read">
          <p>{paused.error}</p>
        </Notice>
      )}
      {nothing && <NoData app={app} paused={at !== null} />}
      <Tiles latest={shown?.latest ?? null} />
      <Legend />
      <Suspense fallback={<p className="loading">Loading charts …</p>}>
        <Charts points={shown?.points ?? null} onPause={(time) => show({ app, at: time })} />
      </Suspense>
      <Rooms key={at} app={app} latest={shown?.latest ?? null} />
      <Callbacks application={application} at={at} newest={shown?.newest ?? null} />
    </>
  );
}

interface BarProps {
  app: number;
  live: Live;
  at: number | null;
  latest: Latest | null;
}

function Bar({ app, live, at, latest }: BarProps) {
  const pauseAt = latest?.BucketTime ?? (live.data ? windowEnd(live.data.now) : null);
  const state = at !== null ? "paused" : live.connection !== "open" ? live.connection : live.problem ? "waiting" : "live";
  const words = { live: "Live", paused: "Paused", waiting: "Waiting for data", opening: "Connecting …", lost: "No connection" };
  return (
    <div className="bar">
      <h2>Latest data</h2>
      <p className="updated" data-testid="updated">
        {latest?.UpdatedTime != null ? (
          <>
            Last updated <time dateTime={new Date(latest.UpdatedTime).toISOString()}>{timeOfDay(latest.UpdatedTime)}</time>{" "}
            <span className="zone">{zone(latest.UpdatedTime)}</span>
          </>
        ) : (
          "Not updated yet"
        )}
        {latest?.State === "provisional" && (
          <span className="badge" title="Some clients have not reported for this bucket yet; its numbers will grow">
            provisional
          </span>
        )}
        {latest?.State === "stale" && <span className="badge">nobody reports</span>}
      </p>
      <p className={`state ${state}`} data-testid="state" role="status">
        <span aria-hidden="true">{state === "live" ? "●" : state === "paused" ? "❙❙" : "○"}</span> {words[state]}
        {at !== null && ` at ${timeOfDay(at)}`}
      </p>
      {at === null ? (
        <button
          type="button"
          data-testid="pause"
          disabled={pauseAt === null}
          onClick={() => pauseAt !== null && show({ app, at: pauseAt })}
        >
          Pause
        </button>
      ) : (
        <button type="button" data-testid="resume" onClick={() => show({ app, at: null })}>
          View latest data
        </button>
      )}
    </div>
  );
}

function Legend() {
  return (
    <div className="bar">
      <h2>The last 64 minutes</h2>
      <ul className="legend">
        <li>
          <span className="stroke" aria-hidden="true" /> a point for 10 seconds
        </li>
        <li>
          <span className="stroke dotted" aria-hidden="true" /> provisional: reports are still coming in
        </li>
        <li>gap: unknown</li>
      </ul>
    </div>
  );
}

function NoData({ app, paused }: { app: number; paused: boolean }) {
  if (paused) {
    return (
      <Notice kind="empty" title="No data at this time">
        <p>Nobody reported in the 64 minutes before it.</p>
      </Notice>
    );
  }
  return (
    <Notice kind="empty" title="No data yet">
      <p>
        Nobody has reported for this application in the last 64 minutes. Clients report with the web client of
        Roompulse, or by posting to <code>/v1/reports</code> of ingest. To see simulated rooms here:
      </p>
      <pre>roompulse simulate --sdkappid {app}</pre>
    </Notice>
  );
}

function useFollowing(live: Live): Shown | null {
  const { data } = live;
  const last = data && windowEnd(data.now);
  const points = useMemo(() => (data && last !== null ? dense(data.points, last) : null), [data?.points, last]);
  return data && points && { latest: data.latest, newest: data.attempts, points };
}

function usePaused(app: number, at: number | null): { shown: Shown | null; error: string | null } {
  const query = useQuery({
    queryKey: ["paused", app, at],
    enabled: at !== null,
    // Late data may still change a bucket of the past.
    staleTime: 30_000,
    queryFn: async ({ signal }): Promise<Shown> => {
      const [latest, points, newest] = await Promise.all([
        latestAt(app, at ?? 0, signal),
        pointsAt(app, at ?? 0, signal),
        attempts(app, at, { outcome: "", search: "" }, signal),
      ]);
      return { latest, points, newest };
    },
    refetchInterval: (query) => (query.state.status === "error" ? 3_000 : false),
  });
  return { shown: query.data ?? null, error: query.error?.message ?? null };
}
