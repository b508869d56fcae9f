/** Server time on a client: the offset is measured once, times are corrected here and never by the server. */

/** Milliseconds since 1970 on a clock that is never set back. */
export function localNow(): number {
  return performance.timeOrigin + performance.now();
}

/** One question for the server's time: local times of asking and of the answer, and the answer, all in milliseconds. */
export interface TimeProbe {
  askedAt: number;
  answeredAt: number;
  serverMs: number;
}

/**
 * What to add to local time for server time: the answer is taken to be half a round trip old.
 * Of several probes the one with the shortest round trip decides, since its error is bounded by half of that.
 */
export function estimateOffset(probes: TimeProbe[]): number {
  const best = probes.reduce((a, b) => (b.answeredAt - b.askedAt < a.answeredAt - a.askedAt ? b : a));
  return best.serverMs + (best.answeredAt - best.askedAt) / 2 - best.answeredAt;
}

/** Ask `GET /v1/time` a few times. Rejects when an answer does not come or is no time. */
export async function measureOffset(endpoint: string, probes = 3): Promise<number> {
  const taken: TimeProbe[] = [];
  for (let i = 0; i < probes; i += 1) {
    const askedAt = localNow();
    const response = await fetch(`${endpoint}/v1/time`, { cache: "no-store", credentials: "omit" });
    const answeredAt = localNow();
    const answer = (await response.json()) as { ServerMs?: unknown };
    if (!response.ok || typeof answer.ServerMs !== "number") {
      throw new Error(`GET /v1/time answered ${response.status} without ServerMs`);
    }
    taken.push({ askedAt, answeredAt, serverMs: answer.ServerMs });
  }
  return estimateOffset(taken);
}

/**
 * Whether the machine slept, or something else stopped the local clock, since `reference` was taken.
 * The argument is the difference of wall clock and local clock then and now, in milliseconds.
 */
export function clockJumped(reference: number, current: number): boolean {
  return Math.abs(current - reference) > 2000;
}
