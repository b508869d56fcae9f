/** What an application tells the client, and what the client tells it. */

import type { Store } from "./queue.js";
import type { ClientPart } from "./report.js";

export interface RoompulseOptions {
  /** Address of ingest, such as `https://rtc.example.com`, without a path of its own calls. */
  endpoint: string;
  sdkAppId: number;
  userId: string;
  userSig: string;
  /** A number and the text of that number are two different rooms. */
  roomId: number | string;
  /** 20 sends and receives, 21 only receives. */
  role?: number;
  /** Only where the application demands it. */
  privateMapKey?: string;
  /** How long entering the room took, and its result (0 is success). */
  joinCostMs?: number;
  joinResult?: number;
  /** Replaces what is found out about the device. */
  device?: ClientPart;
  /**
   * Where pending reports wait over reloads and visits; `null` keeps them in memory only. Default: localStorage, or
   * sessionStorage where the browser cannot tell what other tabs do.
   */
  storage?: Store | null;
}

export interface RoompulseError {
  /**
   * `unauthorized`: nothing is sent until `updateUserSig`. `forbidden`: the session has stopped. `refused`: a report
   * was dropped. `rejected`: items of a report were. `overflow`: the oldest pending report or event was given up.
   * `network`: no or a passing answer, it is sent again. `clock`: the server's time cannot be had yet.
   */
  kind: "unauthorized" | "forbidden" | "refused" | "rejected" | "overflow" | "network" | "clock";
  status: number;
  code: string;
  reason: string;
}

export interface RoompulseListeners {
  error: (error: RoompulseError) => void;
  /** A report is safe. */
  accepted: (report: { sessionId: string; seq: number }) => void;
}

export interface EventOptions {
  paramOne?: number;
  paramTwo?: number;
  /** Whose stream the event is about, where it is a peer's. */
  peerId?: string;
  /** Which picture: 2 big, 3 small, 7 sub. */
  type?: number;
}
