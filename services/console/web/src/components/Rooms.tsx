import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { type Latest, type Room, rooms } from "../api";
import { useSettled } from "../filter";
import { count, rate, timeOfDay } from "../format";
import { type Medium, SHAPE, severityOf, WORD } from "../severity";
import { RoomIdent } from "./Ident";
import { Search } from "./Search";
import { type Column, Table } from "./Table";

const COLUMNS: Column[] = [
  { title: "Room ID" },
  { title: "Online users", number: true },
  { title: "Abnormal users", number: true },
  { title: "Video stutter", number: true },
  { title: "Audio stutter", number: true },
];

/** The rooms of the bucket that the tiles show, the fullest first. */
export function Rooms({ app, latest }: { app: number; latest: Latest | null }) {
  const [page, setPage] = useState(1);
  const [typed, setTyped] = useState("");
  const search = useSettled(typed.trim());
  const bucket = latest?.OnlineUsers != null ? latest.BucketTime : null;
  const query = useQuery({
    // Late reports change the numbers of a bucket: with the tiles, the rooms are read anew.
    queryKey: ["rooms", app, bucket, page, search, latest],
    enabled: bucket !== null,
    queryFn: ({ signal }) => rooms(app, bucket ?? 0, page, search, signal),
    placeholderData: keepPreviousData,
    gcTime: 10_000,
  });
  const data = bucket === null ? null : query.data;
  const pages = data ? Math.max(1, Math.ceil(data.Total / data.Size)) : 1;
  if (data && page > pages) setPage(pages);

  return (
    <Table
      title="Rooms"
      id="rooms"
      remark={data?.BucketTime ? `${count(data.Total)} with users at ${timeOfDay(data.BucketTime)}` : ""}
      columns={COLUMNS}
      empty={emptiness(latest, query.isPending, search)}
      error={bucket !== null && query.isError ? query.error.message : null}
      tools={
        <Search
          label="Find room ID"
          value={typed}
          testId="room-search"
          onChange={(text) => {
            setTyped(text);
            setPage(1);
          }}
        />
      }
      footer={
        data &&
        pages > 1 && (
          <nav className="pager" aria-label="Pages of rooms">
            <button type="button" disabled={page <= 1} onClick={() => setPage(page - 1)}>
              Previous
            </button>
            <span aria-live="polite">
              Page {page} of {pages}
            </span>
            <button type="button" disabled={page >= pages} onClick={() => setPage(page + 1)}>
              Next
            </button>
          </nav>
        )
      }
    >
      {(data?.Rooms ?? []).map((room) => (
        <Row key={`${room.RoomIdType}/${room.RoomId}`} room={room} />
      ))}
    </Table>
  );
}

function emptiness(latest: Latest | null, isPending: boolean, search: string): string {
  if (latest === null) return "Loading …";
  if (latest.OnlineUsers === null) return "Unknown: nobody reports.";
  if (isPending) return "Loading …";
  return search ? `No room with users has “${search}” in its ID.` : "No room has users.";
}

function Row({ room }: { room: Room }) {
  return (
    <tr>
      <th scope="row" className="wide">
        <RoomIdent id={room.RoomId} type={room.RoomIdType} />
      </th>
      <td className="number" data-label="users">
        {count(room.OnlineUsers)}
      </td>
      <td className="number" data-label="abnormal">
        {count(room.AbnormalUsers)}
      </td>
      <RateCell medium="video" value={room.VideoStutterRate} />
      <RateCell medium="audio" value={room.AudioStutterRate} />
    </tr>
  );
}

function RateCell({ medium, value }: { medium: Medium; value: number | null }) {
  const severity = severityOf(medium, value);
  return (
    <td className="number" data-label={medium}>
      <span className={`pill ${severity}`} title={WORD[severity]}>
        {rate(value)}{" "}
        <span className="shape" role="img" aria-label={WORD[severity]}>
          {SHAPE[severity]}
        </span>
      </span>
    </td>
  );
}
