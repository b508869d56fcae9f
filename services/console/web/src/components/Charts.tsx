import type { Point } from "../api";
import { count, rate } from "../format";
import { LIMITS } from "../severity";
import { Chart, type Measure } from "./Chart";

const MEASURES: Measure[] = [
  { field: "OnlineUsers", title: "Online users", id: "online-users", write: count, colour: "--blue" },
  { field: "OnlineRooms", title: "Online rooms", id: "online-rooms", write: count, colour: "--violet" },
  {
    field: "VideoStutterRate",
    title: "Video stutter rate",
    id: "video-stutter",
    write: rate,
    colour: "--teal",
    limits: LIMITS.video,
  },
  {
    field: "AudioStutterRate",
    title: "Audio stutter rate",
    id: "audio-stutter",
    write: rate,
    colour: "--orange",
    limits: LIMITS.audio,
  },
  { field: "AbnormalUsers", title: "Abnormal users", id: "abnormal-users", write: count, colour: "--pink" },
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
