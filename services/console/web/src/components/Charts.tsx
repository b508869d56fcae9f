import type { Point } from "../api";
import { count, rate, shortCount } from "../format";
import { LIMITS } from "../severity";
import { Chart, type Measure } from "./Chart";

const COUNT = { write: count, writeShort: shortCount } as const;
const RATE = { write: rate, writeShort: (value: number) => `${value} %` } as const;

const MEASURES: Measure[] = [
  { ...COUNT, field: "OnlineUsers", title: "Online users", id: "online-users", colour: "--blue" },
  { ...COUNT, field: "OnlineRooms", title: "Online rooms", id: "online-rooms", colour: "--violet" },
  { ...RATE, field: "VideoStutterRate", title: "Video stutter rate", id: "video-stutter", colour: "--low", limits: LIMITS.video },
  { ...RATE, field: "AudioStutterRate", title: "Audio stutter rate", id: "audio-stutter", colour: "--low", limits: LIMITS.audio },
  { ...COUNT, field: "AbnormalUsers", title: "Abnormal users", id: "abnormal-users", colour: "--pink" },
];

interface Props {
  /** 384 points, null while they are on their way. */
  points: Point[] | null;
  onPause: (bucketMs: number) => void;
}

/** The last 64 minutes, in charts that move together. */
export default function Charts({ points, onPause }: Props) {
  return (
    <section className="charts" aria-label="The last 64 minutes" data-testid="charts">
      {MEASURES.map((measure) => (
        <Chart key={measure.field} measure={measure} points={points} onPause={onPause} />
      ))}
    </section>
  );
}
