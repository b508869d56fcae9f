import type { Attempt } from "../api";
import { duration, moment } from "../format";
import { eventName } from "../events";
import { Table } from "./Table";

/** The last attempts to deliver callbacks, one row an attempt, the newest first. */
export function Callbacks({ attempts }: { attempts: Attempt[] | null }) {
  return (
    <Table
      title="Last callbacks"
      id="callbacks"
      remark={attempts?.length ? `the newest ${attempts.length}, one row for each attempt` : ""}
      columns={["Time", "Event", "Room", "URL", "#Attempt", "#Status", "Outcome", "#Duration"]}
      empty={
        attempts === null
          ? "Loading …"
          : "No callback has been sent. Set where they go with: roompulse app set-callback SDKAPPID --room-url URL"
      }
    >
      {(attempts ?? []).map((attempt) => (
        <Row key={`${attempt.DeliveryId}/${attempt.Attempt}`} attempt={attempt} />
      ))}
    </Table>
  );
}

const OUTCOMES: Record<Attempt["Outcome"], { shape: string; word: string; severity: string }> = {
  delivered: { shape: "✓", word: "delivered", severity: "low" },
  failed: { shape: "↻", word: "failed, tried again", severity: "moderate" },
  "given-up": { shape: "✕", word: "given up", severity: "high" },
};

function Row({ attempt }: { attempt: Attempt }) {
  const outcome = OUTCOMES[attempt.Outcome];
  const why = [attempt.ErrorClass, attempt.Error].filter(Boolean).join(": ");
  return (
    <tr>
      <td className="time">{moment(attempt.StartedTime)}</td>
      <th scope="row">
        {attempt.EventType} <span className="event">{eventName(attempt.EventType)}</span>
      </th>
      <td>
        {attempt.RoomId === "" ? (
          <span className="kind">none</span>
        ) : (
          <>
            <span className="ident">{attempt.RoomId}</span>{" "}
            {attempt.RoomIdType === 1 && <span className="kind">string</span>}
          </>
        )}
      </td>
      <td className="url" title={attempt.Url}>
        {attempt.Url}
      </td>
      <td className="number">{attempt.Attempt}</td>
      <td className="number">{attempt.Status === 0 ? <span className="kind">no answer</span> : attempt.Status}</td>
      <td className={`rate ${outcome.severity}`}>
        <span className="shape" aria-hidden="true">
          {outcome.shape}
        </span>{" "}
        {outcome.word}
        {why && (
          <span className="why" title={attempt.Response}>
            {why}
          </span>
        )}
      </td>
      <td className="number">{duration(attempt.DurationMs)}</td>
    </tr>
  );
}
