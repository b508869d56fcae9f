/** Numbers of the events that a WebRTC client reports; what each means for the sender's and the receiver's charts. */
export const WebRtcEvent = {
  videoEnabled: 32768,
  audioEnabled: 32769,
  videoDisabled: 32770,
  audioDisabled: 32771,
  audioMuted: 32772,
  videoMuted: 32773,
  audioUnmuted: 32774,
  videoUnmuted: 32775,
  videoSubscribed: 32776,
  audioSubscribed: 32777,
  videoUnsubscribed: 32778,
  audioUnsubscribed: 32779,
  cameraSwitched: 32780,
  microphoneSwitched: 32781,
  videoUpdated: 32782,
  audioUpdated: 32783,
  remoteVideoDisabled: 32784,
  remoteAudioDisabled: 32785,
  remoteVideoEnabled: 32786,
  remoteAudioEnabled: 32787,
  entered: 32788,
  exited: 32789,
  signallingLost: 32790,
  signallingConnected: 32791,
  mediaLost: 32792,
  mediaConnected: 32793,
} as const;

/** `Type` of an event: which picture it speaks of. */
export const EventPicture = { none: 0, big: 2, small: 3, sub: 7 } as const;
