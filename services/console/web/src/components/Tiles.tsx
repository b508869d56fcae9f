import type { Latest } from "../api";
import { count, rate, UNKNOWN } from "../format";
import { type Medium, SHAPE, severityOf, WORD } from "../severity";

/** The newest numbers of an application; null while they are on their way. */
export function Tiles({ latest }: { latest: Latest | null }) {
  const users = latest?.OnlineUsers ?? null;
  const abnormal = latest?.AbnormalUsers ?? null;
  return (
    <section className="tiles" aria-label="Latest data" aria-busy={latest === null} data-testid="tiles">
      <Tile name="Online users" id="online-users" loading={latest === null} value={count(users)}>
        in rooms; once for each room
      </Tile>
      <Tile name="Abnormal users" id="abnormal-users" loading={latest === null} value={count(abnormal)}>
        met no audio, a bad frame rate or a busy CPU
      </Tile>
      <Tile name="Online rooms" id="online-rooms" loading={latest === null} value={count(latest?.OnlineRooms ?? null)}>
        with users in them
      </Tile>
      <RateTile name="Video stutter" medium="video" latest={latest} value={latest?.VideoStutterRate ?? null} />
      <RateTile name="Audio stutter" medium="audio" latest={latest} value={latest?.AudioStutterRate ?? null} />
    </section>
  );
}

interface TileProps {
  name: string;
  id: string;
  value: string;
  loading: boolean;
  severity?: string;
  children: React.ReactNode;
}

function Tile({ name, id, value, loading, severity = "", children }: TileProps) {
  return (
    <article className={`tile ${severity}`} data-testid={`tile-${id}`}>
      <h3>{name}</h3>
      {loading ? (
        <p className="value skeleton">
          <span className="hidden">loading</span>
        </p>
      ) : (
        <p className="value">
          <span data-testid="value" aria-label={value === UNKNOWN ? "unknown" : undefined}>
            {value}
          </span>
        </p>
      )}
      <p className="remark">{children}</p>
    </article>
  );
}

interface RateTileProps {
  name: string;
  medium: Medium;
  latest: Latest | null;
  value: number | null;
}

function RateTile({ name, medium, latest, value }: RateTileProps) {
  const severity = severityOf(medium, value);
  const played = medium === "video" ? "video" : "audio";
  return (
    <Tile
      name={name}
      id={`${medium}-stutter`}
      loading={latest === null}
      value={rate(value)}
      severity={latest === null ? "" : severity}
    >
      {severity === "unknown" ? (
        `nobody played ${played}`
      ) : (
        <>
          <span className="shape" aria-hidden="true">
            {SHAPE[severity]}
          </span>{" "}
          <span data-testid="severity">{WORD[severity]}</span>
        </>
      )}
    </Tile>
  );
}
