export { RoompulseClient } from "./client.js";
export type { LocalTrackOptions, RemoteTrackOptions, TrackState } from "./connections.js";
export { EventPicture, WebRtcEvent } from "./events.js";
export type { EventOptions, RoompulseError, RoompulseListeners, RoompulseOptions } from "./options.js";
export type { Store } from "./queue.js";
export type { ClientPart, StreamType } from "./report.js";
export { VERSION } from "./version.js";
