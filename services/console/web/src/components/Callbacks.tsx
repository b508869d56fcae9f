import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { type Application, type Attempt, type AttemptFilter, attempts } from "../api";
import { eventName } from "../events";
import { useSettled } from "../filter";
import { duration, moment, visible } from "../format";
import { CallbackDetails } from "./CallbackDetails";
import { RoomIdent } from "./Ident";
import { Outcome } from "./Outcome";
import { Search } from "./Search";
import { type Column, Table } from "./Table";
import { TestCallback } from "./TestCallback";

const COLUMNS: Column[] = [
  { title: "Time" },
  { title: "Event" },
  { title: "Room" },
  { title: "URL" },
  { title: "Outcome" },
  { title: "Status", number: true },
  { title: "Attempt", number: true },
  { title: "Duration", number: true },
];

interface Props {
  application: Application;
  /** The bucket that the page is paused at, null for live. */
  at: number | null;
  /** The newest ones, whatever their outcome; null while they are on their way. */
  newest: Attempt[] | null;
}

/** The last attempts to deliver callbacks, one row an attempt, the newest first. */
export function Callbacks({ application, at, newest }: Props) {
  const app = application.SdkAppId;
  const [opened, setOpened] = useState<string | null>(null);
  const [testing, setTesting] = useState(false);
  const [outcome, setOutcome] = useState<AttemptFilter["outcome"]>("");
  const [typed, setTyped] = useState("");
  const search = useSettled(typed.trim());
  const filtering = outcome !== "" || search !== "";
  const query = useQuery({
    // What matches may have changed when there is a newer attempt at all.
    queryKey: ["attempts", app, at, outcome, search, newest?.[0]?.RequestId],
    enabled: filtering,
    queryFn: ({ signal }) => attempts(app, at, { outcome, search }, signal),
    placeholderData: keepPreviousData,
    gcTime: 10_000,
  });
  const shown = filtering ? (query.data ?? null) : newest;

  return (
    <Table
      footer={
        <>
          {opened !== null && <CallbackDetails app={app} deliveryId={opened} onClose={() => setOpened(null)} />}
          {testing && <TestCallback application={application} onClose={() => setTesting(false)} />}
        </>
      }
      title="Last callbacks"
      id="callbacks"
      remark={shown?.length ? `the newest ${shown.length}, one row for each attempt` : ""}
      columns={COLUMNS}
      error={filtering && query.isError ? query.error.message : null}
      empty={
        shown === null ? "Loading …" : filtering ? "No callback of these 14 days is like this." : <NoneSent app={app} at={at} />
      }
      tools={
        <>
          <Search label="Find room ID" value={typed} testId="callback-search" onChange={setTyped} />
          <select
            aria-label="Outcome"
            value={outcome}
            data-testid="callback-outcome"
            onChange={(event) => setOutcome(event.target.value as AttemptFilter["outcome"])}
          >
            <option value="">all outcomes</option>
            <option value="delivered">delivered</option>
            <option value="failed">failed, tried again</option>
            <option value="given-up">given up</option>
          </select>
          <button type="button" onClick={() => setTesting(true)}>
            Test …
          </button>
        </>
      }
    >
      {(shown ?? []).map((attempt) => (
        <Row key={attempt.RequestId} attempt={attempt} onOpen={() => setOpened(attempt.DeliveryId)} />
      ))}
    </Table>
  );
}

function NoneSent({ app, at }: { app: number; at: number | null }) {
  if (at !== null) return "No callback was sent in the 14 days before.";
  return (
    <>
      No callback has been sent in the last 14 days. To set where they go:
      <pre>
        roompulse app set-callback {app} --key KEY --room-url URL
      </pre>
    </>
  );
}

function Row({ attempt, onOpen }: { attempt: Attempt; onOpen: () => void }) {
  const why = visible([attempt.ErrorClass, attempt.Error].filter(Boolean).join(": "));
  const url = visible(attempt.Url);
  return (
    <tr>
      <td className="time">
        <time dateTime={new Date(attempt.StartedTime).toISOString()}>{moment(attempt.StartedTime)}</time>
      </td>
      <th scope="row" className="event">
        <button type="button" className="link" title="Everything about this callback" onClick={onOpen}>
          {attempt.EventType} <span className="kind">{eventName(attempt.EventType)}</span>
        </button>
      </th>
      <td className="room">
        {attempt.RoomId === "" ? (
          <span className="kind">{attempt.TaskId ? `task ${visible(attempt.TaskId)}` : "none"}</span>
        ) : (
          <RoomIdent id={attempt.RoomId} type={attempt.RoomIdType} />
        )}
      </td>
      <td className="url wide" title={url}>
        {url}
      </td>
      <td className="outcome">
        <Outcome outcome={attempt.Outcome} />
        {why && (
          <span className="why" title={attempt.Response ? `${why}\n\n${visible(attempt.Response)}` : why}>
            {why}
          </span>
        )}
      </td>
      <td className="number status">{attempt.Status === 0 ? <span className="kind">no answer</span> : attempt.Status}</td>
      <td className="number attempt">{attempt.Attempt}</td>
      <td className="number duration">{duration(attempt.DurationMs)}</td>
    </tr>
  );
}
