import { useMutation, useQuery } from "@tanstack/react-query";

import { type Callback, callback, replay, replayOf } from "../api";
import { eventName } from "../events";
import { duration, moment, visible, visibleLines } from "../format";
import { Dialog } from "./Dialog";
import { Outcome } from "./Outcome";
import { Request } from "./Request";

interface Props {
  app: number;
  deliveryId: string;
  onClose: () => void;
}

const STATES = { delivered: "delivered", waiting: "not delivered yet", "given-up": "given up" };

/** One callback in full, and a way to send it once more where it was given up. */
export function CallbackDetails({ app, deliveryId, onClose }: Props) {
  const query = useQuery({
    queryKey: ["callback", app, deliveryId],
    queryFn: ({ signal }) => callback(app, deliveryId, signal),
    refetchInterval: (query) => (query.state.data?.State === "delivered" ? false : 2_000),
    gcTime: 0,
  });
  const shown = query.data;
  return (
    <Dialog title={shown ? <Title shown={shown} /> : "Callback"} testId="callback-details" onClose={onClose}>
      {query.isPending && <p className="loading">Loading …</p>}
      {query.isError && (
        <p className="failure" role="alert">
          {query.error.message}
        </p>
      )}
      {shown && (
        <>
          <dl>
            <dt>Delivery</dt>
            <dd>{shown.DeliveryId}</dd>
            <dt>Event</dt>
            <dd>{visible(shown.EventId)}</dd>
            <dt>Happened</dt>
            <dd>{moment(shown.EventTime)}</dd>
          </dl>
          {shown.State === "given-up" && <OnceMore app={app} deliveryId={deliveryId} />}
          {shown.Attempts.map((attempt) => (
            <section key={attempt.RequestId} className="attempt-shown" data-testid="attempt">
              <h3>
                Attempt {attempt.Attempt}, {moment(attempt.StartedTime)}: <Outcome outcome={attempt.Outcome} />
              </h3>
              <p className="remark">
                {attempt.Status === 0 ? "no answer" : `status ${attempt.Status}`} after {duration(attempt.DurationMs)}
                {attempt.Error && attempt.ErrorClass !== "status" && `, ${visible(`${attempt.ErrorClass}: ${attempt.Error}`)}`}, request{" "}
                {attempt.RequestId}
              </p>
              {attempt.Response && <pre data-testid="response">{visibleLines(attempt.Response)}</pre>}
              <details>
                <summary>The request</summary>
                <Request url={attempt.Url} request={attempt.Request} />
              </details>
            </section>
          ))}
          {shown.Next && (
            <section className="attempt-shown" data-testid="next">
              <h3>As it would be sent now</h3>
              <Request url={shown.Next.Url} request={shown.Next} />
            </section>
          )}
          <p className="remark">Signatures are made with the keys that the application has now.</p>
        </>
      )}
    </Dialog>
  );
}

function Title({ shown }: { shown: Callback }) {
  return (
    <>
      {shown.EventType} {eventName(shown.EventType)}, {STATES[shown.State]}
    </>
  );
}

const OVER = ["done", "failed", "stopped"];

function OnceMore({ app, deliveryId }: { app: number; deliveryId: string }) {
  const sending = useMutation({ mutationFn: () => replay(app, deliveryId) });
  const begun = sending.data?.ReplayId;
  const progress = useQuery({
    queryKey: ["replay", app, begun],
    enabled: begun !== undefined,
    queryFn: ({ signal }) => replayOf(app, begun ?? "", signal),
    refetchInterval: (query) => (OVER.includes(query.state.data?.State ?? "") ? false : 500),
    gcTime: 0,
  });
  const failure = sending.error?.message ?? progress.error?.message ?? progress.data?.Error;
  return (
    <p className="once-more">
      <button type="button" disabled={sending.isPending || begun !== undefined} onClick={() => sending.mutate()}>
        Send once more
      </button>
      <span role="status" data-testid="once-more">
        {failure || (begun && said(progress.data?.State, progress.data?.Sent ?? 0))}
      </span>
    </p>
  );
}

function said(state: string | undefined, sent: number): string {
  if (state === undefined || !OVER.includes(state)) return "Looking for it …";
  return sent > 0 ? "It is on its way; its next attempt appears here." : "It is not kept any more: nothing was sent.";
}
