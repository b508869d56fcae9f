/** One side of a call, driven by the test: window.call. */
import { RoompulseClient, WebRtcEvent } from "/client/index.js";

const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
const screen = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
const state = { client: undefined, errors: [], accepted: [] };

pc.addEventListener("track", ({ streams }) => {
  document.getElementById("peer").srcObject = streams[0];
});

async function described(connection) {
  if (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      const check = () => connection.iceGatheringState === "complete" && resolve();
      connection.addEventListener("icegatheringstatechange", check);
    });
  }
  return connection.localDescription.toJSON();
}

async function offered(connection) {
  await connection.setLocalDescription(await connection.createOffer());
  return described(connection);
}

async function answered(connection, offer) {
  await connection.setRemoteDescription(offer);
  await connection.setLocalDescription(await connection.createAnswer());
  return described(connection);
}

/** When the own camera took the next frame. */
function captured() {
  return new Promise((resolve) => {
    document.getElementById("own").requestVideoFrameCallback((now, { captureTime }) => resolve(captureTime ?? now));
  });
}

window.call = {
  pc,
  state,
  /** Take camera and microphone and offer them. The sound goes out as it is: to clean it costs more than all the rest. */
  async capture(video) {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio, video });
    document.getElementById("own").srcObject = stream;
    for (const track of stream.getTracks()) pc.addTrack(track, stream);
  },
  offer: () => offered(pc),
  answer: (offer) => answered(pc, offer),
  accept: (answer) => pc.setRemoteDescription(answer),
  /** Share the screen over a connection of its own: the offer. */
  async shareScreen() {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { width: 640, height: 360, frameRate: 5 } });
    for (const track of stream.getTracks()) screen.addTrack(track, stream);
    state.client.addPeerConnection(screen);
    return offered(screen);
  },
  /** See the peer's screen: the answer. */
  async seeScreen(offer, peer) {
    screen.addEventListener("track", ({ track }) => state.client.addRemoteTrack(track, { userId: peer, type: "sub" }));
    state.client.addPeerConnection(screen);
    return answered(screen, offer);
  },
  acceptScreen: (answer) => screen.setRemoteDescription(answer),
  closeScreen() {
    for (const { track } of screen.getSenders()) track?.stop();
    screen.close();
  },
  /** Resolves when the peer's picture is being decoded. */
  async playing() {
    for (;;) {
      for (const stat of (await pc.getStats()).values()) {
        if (stat.type === "inbound-rtp" && stat.kind === "video" && stat.framesDecoded > 0) return;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
  /** Enter the room: measure and report from now on. */
  enter(options, peer) {
    const client = new RoompulseClient(options);
    client.on("error", (error) => state.errors.push(error));
    client.on("accepted", (report) => state.accepted.push(report.seq));
    client.addPeerConnection(pc, { peer });
    client.start();
    client.reportEvent(WebRtcEvent.videoEnabled, { type: 2 });
    client.reportEvent(WebRtcEvent.audioEnabled);
    state.client = client;
    return client.sessionId;
  },
  /**
   * Send nothing of this kind for a while; the tracks of both sides stay live and unmuted. Gives `start`, Unix time.
   *
   * Of a picture exactly the frames of `ms` milliseconds are left out: the pause begins behind a frame and ends in the
   * middle between two.
   */
  async pause(kind, ms) {
    const sender = pc.getSenders().find(({ track }) => track?.kind === kind);
    const setActive = async (active) => {
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.active = active;
      await sender.setParameters(parameters);
    };
    const frame = kind === "video" ? 1000 / sender.track.getSettings().frameRate : 0;
    const start = kind === "video" ? await captured() : performance.now();
    await setActive(false);
    await new Promise((resolve) => setTimeout(resolve, start + ms - frame / 2 - performance.now()));
    await setActive(true);
    return { start: performance.timeOrigin + start };
  },
  /** Milliseconds of received sound that the browser has made up so far and how often, as its own counters say. */
  async concealed() {
    for (const stat of (await pc.getStats()).values()) {
      if (stat.type === "inbound-rtp" && stat.kind === "audio") {
        const ms = (stat.concealedSamples / stat.totalSamplesReceived) * stat.totalSamplesDuration * 1000;
        return [ms, stat.concealmentEvents];
      }
    }
    return [0, 0];
  },
  /** How often received pictures have stood still so far, as the browser counts. */
  async freezes() {
    let found = 0;
    for (const stat of (await pc.getStats()).values()) {
      if (stat.type === "inbound-rtp" && stat.kind === "video") found += stat.freezeCount;
    }
    return found;
  },
  /** How the own (`sender`) or the peer's (`receiver`) track of a kind is now. */
  track(side, kind) {
    const tracks = pc.getTransceivers().map((transceiver) => transceiver[side].track);
    const { muted, readyState } = tracks.find((track) => track?.kind === kind);
    return { muted, readyState };
  },
  async leave() {
    await state.client.leave();
    return { errors: state.errors, accepted: state.accepted };
  },
};
