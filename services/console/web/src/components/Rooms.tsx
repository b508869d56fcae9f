import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { type Latest, type Room, rooms } from "../api";
import { count, rate, timeOfDay } from "../format";
import { type Medium, SHAPE, severityOf, WORD } from "../severity";
import { Table } from "./Table";

/** The rooms of the bucket that the tiles show, the fullest first. */
export function Rooms({ app, latest }: { app: number; latest: Latest | null }) {
  const [page, setPage] = useState(1);
  const bucket = latest?.OnlineUsers != null ? latest.BucketTime : null;
  const query = useQuery({
    // Late reports change the numbers of a bucket: with the tiles, the rooms are read anew.
    queryKey: ["rooms", app, bucket, page, latest],
    enabled: bucket !== null,
    queryFn: ({ signal }) => rooms(app, bucket ?? 0, page, signal),
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
      columns={["Room ID", "#Online users", "#Abnormal users", "#Video stutter", "#Audio stutter"]}
      empty={latest === null || (bucket !== null && query.isPending) ? "Loading …" : "No room has users now."}
      error={bucket !== null && query.isError ? query.error.message : null}
      footer={
        data &&
        pages > 1 && (
          <nav className="pager" aria-label="Pages of rooms">
            <button type="button" disabled={page <= 1} onClick={() => setPage(page - 1)}>
              Previous
            </button>
            <span>
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

function Row({ room }: { room: Room }) {
  return (
    <tr>
      <th scope="row">
        <span className="ident">{room.RoomId}</span> {room.RoomIdType === 1 && <span className="kind">string</span>}
      </th>
      <td className="number">{count(room.OnlineUsers)}</td>
      <td className="number">{count(room.AbnormalUsers)}</td>
      <RateCell medium="video" value={room.VideoStutterRate} />
      <RateCell medium="audio" value={room.AudioStutterRate} />
    </tr>
  );
}

function RateCell({ medium, value }: { medium: Medium; value: number | null }) {
  const severity = severityOf(medium, value);
  return (
    <td className={`number rate ${severity}`} title={WORD[severity]}>
      {rate(value)}{" "}
      <span className="shape" role="img" aria-label={WORD[severity]}>
        {SHAPE[severity]}
      </span>
    </td>
  );
}
