import { useMutation } from "@tanstack/react-query";
import { useState } from "react";

import { type Application, type TestResult, testCallback } from "../api";
import { duration, visible, visibleLines } from "../format";
import { Dialog } from "./Dialog";
import { Request } from "./Request";

interface Props {
  application: Application;
  onClose: () => void;
}

/** Sends one callback of an event that never happened, and says what could be seen on the way. */
export function TestCallback({ application, onClose }: Props) {
  const choices = urls(application);
  const [group, setGroup] = useState(choices[0]?.group ?? 0);
  const test = useMutation({ mutationFn: () => testCallback(application.SdkAppId, group) });
  return (
    <Dialog title="Test callback" testId="test-callback" onClose={onClose}>
      {choices.length === 0 ? (
        <>
          <p>This application has no URL that a callback could go to. To set one:</p>
          <pre>
            roompulse app set-callback {application.SdkAppId} --key KEY --room-url URL
          </pre>
        </>
      ) : (
        <>
          <p className="remark">
            One request is sent from this console&apos;s machine, signed as all others are. It tells of an event that
            never happened, says so (<code>&quot;Test&quot;:true</code>), and is not repeated.
          </p>
          <p className="once-more">
            <select
              aria-label="To the URL of"
              value={group}
              data-testid="test-group"
              onChange={(event) => setGroup(Number(event.target.value))}
            >
              {choices.map(({ group, name, url }) => (
                <option key={group} value={group}>
                  {name}: {visible(url)}
                </option>
              ))}
            </select>
            <button type="button" disabled={test.isPending} onClick={() => test.mutate()}>
              Send
            </button>
          </p>
          <div role="status" data-testid="test-result">
            {test.isPending && "Waiting for the answer …"}
            {test.isError && <span className="failure">{test.error.message}</span>}
            {test.data && !test.isPending && <Result result={test.data} />}
          </div>
        </>
      )}
    </Dialog>
  );
}

function Result({ result }: { result: TestResult }) {
  return (
    <>
      <p>
        <span className={`pill ${result.Delivered ? "low" : "high"}`}>
          <span className="shape" aria-hidden="true">
            {result.Delivered ? "✓" : "✕"}
          </span>{" "}
          {result.Delivered ? "delivered" : "not delivered"}
        </span>{" "}
        {result.Status === 0 ? "no answer" : `status ${result.Status}`} after {duration(result.DurationMs)}
        {result.Error && result.ErrorClass !== "status" && `, ${visible(`${result.ErrorClass}: ${result.Error}`)}`}
      </p>
      <ul>
        {result.Addresses.map(({ Address, Permitted, Tried }) => (
          <li key={Address}>
            {Address}: {Permitted ? "callbacks may go there" : "callbacks may not go there"}
            {Tried && ", tried"}
          </li>
        ))}
      </ul>
      {result.Response && <pre data-testid="response">{visibleLines(result.Response)}</pre>}
      <Request url={result.Url} request={result.Request} />
    </>
  );
}

function urls(application: Application): { group: number; name: string; url: string }[] {
  return [
    { group: 1, name: "Rooms", url: application.RoomCallbackUrl },
    { group: 2, name: "Media", url: application.MediaCallbackUrl },
    { group: 3, name: "Recording", url: application.RecordingCallbackUrl },
    { group: 4, name: "Relay", url: application.RelayCallbackUrl },
    ...Object.entries(application.GroupCallbackUrls).map(([group, url]) => ({
      group: Number(group),
      name: `Group ${group}`,
      url,
    })),
  ].filter(({ url }) => url !== "");
}
