/** The console's interface. Times are Unix milliseconds, rates per cent, null is unknown. */

export const BUCKET_MS = 10_000;
export const POINTS = 384;
/** Characters of a search at most. */
export const MAX_SEARCH = 64;

export interface Application {
  SdkAppId: number;
  Name: string;
  Status: "enabled" | "disabled";
  /** Empty where none is set, as the others. */
  RoomCallbackUrl: string;
  MediaCallbackUrl: string;
  RecordingCallbackUrl: string;
  RelayCallbackUrl: string;
  /** Of further event groups, by their numbers. */
  GroupCallbackUrls: Record<string, string>;
}

export interface Numbers {
  OnlineUsers: number | null;
  AbnormalUsers: number | null;
  OnlineRooms: number | null;
  VideoStutterRate: number | null;
  AudioStutterRate: number | null;
}

export interface Point extends Numbers {
  BucketTime: number;
  Provisional: boolean;
}

export interface Latest extends Numbers {
  State: "settled" | "provisional" | "stale" | "none";
  BucketTime: number | null;
  UpdatedTime: number | null;
}

export interface Room {
  RoomId: string;
  RoomIdType: 0 | 1;
  OnlineUsers: number;
  AbnormalUsers: number;
  VideoStutterRate: number | null;
  AudioStutterRate: number | null;
}

export interface RoomPage {
  BucketTime: number | null;
  Page: number;
  Size: number;
  Total: number;
  Rooms: Room[];
}

export interface Attempt {
  DeliveryId: string;
  Attempt: number;
  /** Names this attempt alone. */
  RequestId: string;
  EventId: string;
  EventGroupId: number;
  EventType: number;
  EventTime: number;
  RoomId: string;
  RoomIdType: 0 | 1 | null;
  UserId: string;
  TaskId: string;
  Url: string;
  StartedTime: number;
  DurationMs: number;
  Status: number;
  Outcome: "delivered" | "failed" | "given-up";
  ErrorClass: string;
  Error: string;
  Response: string;
}

export interface SentRequest {
  Headers: Record<string, string>;
  Body: string;
}

/** One callback in full, its attempts from the first to the last. */
export interface Callback {
  DeliveryId: string;
  EventId: string;
  EventType: number;
  EventTime: number;
  State: "delivered" | "waiting" | "given-up";
  Attempts: (Omit<Attempt, "DeliveryId"> & { Request: SentRequest | null })[];
  /** As it would be sent now; null where it would not. */
  Next: (SentRequest & { Url: string }) | null;
}

export interface Replay {
  ReplayId: string;
  State: "waiting" | "counting" | "sending" | "done" | "failed" | "stopped";
  Sent: number;
  Error: string;
}

export interface TestResult {
  Url: string;
  Request: SentRequest;
  Addresses: { Address: string; Permitted: boolean; Tried: boolean }[];
  Delivered: boolean;
  DurationMs: number;
  Status: number;
  ErrorClass: string;
  Error: string;
  Response: string;
}

/** What `stream` tells: everything (`snapshot`) or what changed (`update`). */
export interface Changes {
  Now: number;
  Problem: string | null;
  Points: Point[];
  Attempts: Attempt[];
  Latest: Latest;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    reason: string,
  ) {
    super(reason);
  }
}

async function get<T>(path: string, signal: AbortSignal | null, options: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { signal, ...options });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "Unreachable", "The console does not answer");
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body as T;
  const error = (body as { Error?: { Code: string; Reason: string } } | null)?.Error;
  throw new ApiError(response.status, error?.Code ?? "", error?.Reason ?? `HTTP status ${response.status}`);
}

const post = <T>(path: string, body: object) =>
  get<T>(path, null, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

export const applications = (signal: AbortSignal) =>
  get<{ Applications: Application[] }>("/api/applications", signal).then((body) => body.Applications);

export const latestAt = (app: number, at: number, signal: AbortSignal) =>
  get<Latest & { Now: number }>(`/api/applications/${app}/live?at=${at}`, signal);

export const pointsAt = (app: number, at: number, signal: AbortSignal) =>
  get<{ Points: Point[] }>(`/api/applications/${app}/charts?at=${at}`, signal).then((body) => body.Points);

export interface AttemptFilter {
  /** Empty for all. */
  outcome: Attempt["Outcome"] | "";
  /** A part of the room's id. */
  search: string;
}

/** The last attempts, or with `at` those until then. */
export const attempts = (app: number, at: number | null, filter: AttemptFilter, signal: AbortSignal) =>
  get<{ Deliveries: Attempt[] }>(`/api/applications/${app}/deliveries?${query({ at, ...filter })}`, signal).then(
    (body) => body.Deliveries,
  );

export const callback = (app: number, deliveryId: string, signal: AbortSignal) =>
  get<Callback>(`/api/applications/${app}/deliveries/${encodeURIComponent(deliveryId)}`, signal);

export const replay = (app: number, deliveryId: string) =>
  post<Replay>(`/api/applications/${app}/replays`, { DeliveryIds: [deliveryId] });

export const replayOf = (app: number, replayId: string, signal: AbortSignal) =>
  get<Replay>(`/api/applications/${app}/replays/${replayId}`, signal);

export const testCallback = (app: number, group: number) =>
  post<TestResult>(`/api/applications/${app}/test-callback`, { EventGroupId: group });

export const rooms = (app: number, at: number, page: number, search: string, signal: AbortSignal) =>
  get<RoomPage>(`/api/applications/${app}/rooms?${query({ at, page, search })}`, signal);

function query(parameters: Record<string, string | number | null>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
}

export const streamUrl = (app: number, lastEventId: string) =>
  `/api/applications/${app}/stream${lastEventId ? `?lastEventId=${encodeURIComponent(lastEventId)}` : ""}`;
