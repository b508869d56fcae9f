import { visible } from "../format";

/** A room's id. A numeric and a string room may look alike, so the string is marked. */
export function RoomIdent({ id, type }: { id: string; type: 0 | 1 | null }) {
  const text = visible(id);
  return (
    <span className="ident" title={text}>
      <bdi>{text}</bdi>
      {type === 1 && <span className="kind">string</span>}
    </span>
  );
}
