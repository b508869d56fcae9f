/** One side of a call, driven by the test: window.call. */
import { RoompulseClient, WebRtcEvent } from "/client/index.js";

const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
const state = { client: undefined, errors: [], accepted: [] };

pc.addEventListener("track", ({ streams }) => {
  document.getElementById("peer").srcObject = streams[0];
});

async function described() {
  if (pc.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
    });
  }
  return pc.localDescription.toJSON();
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
  async offer() {
    await pc.setLocalDescription(await pc.createOffer());
    return described();
  },
  async answer(offer) {
    await pc.setRemoteDescription(offer);
    await pc.setLocalDescription(await pc.createAnswer());
    return described();
  },
  async accept(answer) {
    await pc.setRemoteDescription(answer);
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
  /** Send nothing of this kind for a while; the tracks of both sides stay live and unmuted. Gives the true times. */
  async pause(kind, ms) {
    const sender = pc.getSenders().find(({ track }) => track?.kind === kind);
    const setActive = async (active) => {
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.active = active;
      await sender.setParameters(parameters);
    };
    await setActive(false);
    const start = Date.now();
    const since = performance.now();
    await new Promise((resolve) => setTimeout(resolve, ms));
    await setActive(true);
    return { start, length: performance.now() - since };
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
