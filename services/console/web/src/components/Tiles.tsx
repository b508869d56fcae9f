import type { Latest } from "../api";
import { count, rate, UNKNOWN } from "../format";
import { type Medium, SHAPE, severityOf, WORD } from "../severity";

/** The newest numbers of an application; null while they are on their way. */
export function Tiles({ latest }: { latest: Latest | null }) {
  const loading = latest === null;
  return (
    <section className="tiles" aria-label="Latest data" aria-busy={loading} data-testid="tiles">
      <Tile name="Online users" id="online-users" loading={loading} value={count(latest?.OnlineUsers ?? null)}>
        in rooms, once for each room
      </Tile>
      <Tile name="Abnormal users" id="abnormal-users" loading={loading} value={count(latest?.AbnormalUsers ?? null)}>
        no audio, bad frame rate or busy CPU
      </Tile>
      <Tile name="Online rooms" id="online-rooms" loading={loading} value={count(latest?.OnlineRooms ?? null)}>
        with users in them
      </Tile>
      <RateTile name="Video stutter rate" medium="video" latest={latest} value={latest?.VideoStutterRate ?? null} />
      <RateTile name="Audio stutter rate" medium="audio" latest={latest} value={latest?.AudioStutterRate ?? null} />
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
        <p className="value" data-testid="value">
          {value === UNKNOWN ? (
            <>
              <span aria-hidden="true">{UNKNOWN}</span>
              <span className="hidden">unknown</span>
            </>
          ) : (
            value
          )}
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
  return (
    <Tile
      name={name}
      id={`${medium}-stutter`}
      loading={latest === null}
      value={rate(value)}
      severity={latest === null ? "" : severity}
    >
      {severity === "unknown" ? (
        latest?.OnlineUsers == null ? (
          "share of the time played"
        ) : (
          `nobody played ${medium}`
        )
      ) : (
        <span className={`pill ${severity}`}>
          <span className="shape" aria-hidden="true">
            {SHAPE[severity]}
          </span>{" "}
          <span data-testid="severity">{WORD[severity]}</span>
        </span>
      )}
    </Tile>
  );
}
