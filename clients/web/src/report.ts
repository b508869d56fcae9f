/** The report as it goes over the wire: names, units and limits of ingest's contract. An absent field is unknown. */

export type StreamType = "audio" | "big" | "small" | "sub";

/** [start, length so far] of one stutter, server time and milliseconds. The longest length sent for a start wins. */
export type Stutter = [start: number, length: number];

/** What the user sent of one stream. Bitrates in bit/s, losses in per cent. */
export interface LocalStream {
  Type: StreamType;
  Bitrate?: number;
  Loss?: number;
  Width?: number;
  Height?: number;
  CapFps?: number;
  EncFps?: number;
  SendFps?: number;
  Volume?: number;
  SampleRate?: number;
  Muted?: boolean;
}

/** What the user received of one stream of one peer. */
export interface RemoteStream {
  UserId: string;
  Type: StreamType;
  Bitrate?: number;
  Loss?: number;
  Width?: number;
  Height?: number;
  RecFps?: number;
  DecFps?: number;
  JitterMs?: number;
  DelayMs?: number;
  Volume?: number;
  PlayMs?: number;
  Muted?: boolean;
  Stutters?: Stutter[];
}

/** What one user measured in [StartMs, StartMs + DurMs), server time. */
export interface Sample {
  StartMs: number;
  DurMs: number;
  MemoryMb?: number;
  SdkTaskMs?: number;
  Rtt?: number;
  UpLoss?: number;
  DownLoss?: number;
  SentBytes?: number;
  ReceivedBytes?: number;
  Local: LocalStream[];
  Remote: RemoteStream[];
}

export interface ClientEvent {
  AtMs: number;
  EventId: number;
  Type?: number;
  ParamOne?: number;
  ParamTwo?: number;
  PeerId?: string;
}

/** Who the user is: part of the first report of a session and of the one after a change. */
export interface ClientPart {
  Role?: number;
  TerminalType?: number;
  UserType?: number;
  SdkType?: string;
  SdkVersion?: string;
  DeviceModel?: string;
  Os?: string;
  NetworkType?: string;
  JoinMs?: number;
  JoinCostMs?: number;
  JoinResult?: number;
  LeaveMs?: number;
  LeaveReason?: number;
}

/** A report without its credentials, which are put in when it is sent. */
export interface Report {
  SdkAppId: number;
  UserId: string;
  RoomId: number | string;
  SessionId: string;
  Seq: number;
  SentMs: number;
  Client?: ClientPart;
  Samples: Sample[];
  Events: ClientEvent[];
}

/** Bytes of one report at most, so that a browser still sends it while the page goes away. */
export const MAX_REPORT_BYTES = 60_000;

const encoder = new TextEncoder();

/** Bytes of a text in UTF-8. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** What one report carries. */
export interface Content {
  Samples: Sample[];
  Events: ClientEvent[];
}

/**
 * Divide samples and events over as few reports as fit the limit, in order, events last.
 * At least one part is given, also without content; what alone exceeds the limit is a part of its own.
 */
export function divide(samples: Sample[], events: ClientEvent[], limit: number = MAX_REPORT_BYTES): Content[] {
  const parts: Content[] = [{ Samples: [], Events: [] }];
  let size = 0;
  const place = (item: Sample | ClientEvent): Content => {
    const bytes = byteLength(JSON.stringify(item)) + 1;
    if (size > 0 && size + bytes > limit) {
      parts.push({ Samples: [], Events: [] });
      size = 0;
    }
    size += bytes;
    return parts[parts.length - 1]!;
  };
  for (const sample of samples) place(sample).Samples.push(sample);
  for (const event of events) place(event).Events.push(event);
  return parts;
}
