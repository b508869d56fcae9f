/** Which sessions go on, here or in another tab: what the others left behind may be taken over. */

export interface Sessions {
  /** The session goes on until the function that is given is called, or its page is gone. */
  hold(sessionId: string): () => void;
  /** The sessions that go on. */
  alive(): Promise<Set<string>>;
}

const PREFIX = "roompulse:";

/** Knows the sessions of this page alone. */
export function pageSessions(): Sessions {
  const held = new Set<string>();
  return {
    hold(sessionId) {
      held.add(sessionId);
      return () => void held.delete(sessionId);
    },
    async alive() {
      return held;
    },
  };
}

/** Knows the sessions of all tabs of the origin: the browser lets a lock go when its page is gone, crashes included. */
export function lockedSessions(locks: LockManager): Sessions {
  return {
    hold(sessionId) {
      let release = (): void => {};
      const over = new Promise<void>((resolve) => {
        release = resolve;
      });
      // A page that is not fully active may have no locks; its reports may then be sent twice, which does no harm.
      locks.request(PREFIX + sessionId, () => over).catch(() => {});
      return release;
    },
    async alive() {
      const { held = [], pending = [] } = await locks.query();
      const names = [...held, ...pending].map(({ name }) => name ?? "").filter((name) => name.startsWith(PREFIX));
      return new Set(names.map((name) => name.slice(PREFIX.length)));
    },
  };
}

const locks: LockManager | undefined = globalThis.navigator?.locks;

/** Whether sessions of other tabs are known, so that they may share a store. */
export const knowsOtherTabs = locks !== undefined;
export const sessionsOfPage: Sessions = locks === undefined ? pageSessions() : lockedSessions(locks);
