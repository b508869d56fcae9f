import { useSyncExternalStore } from "react";

/** A choice of the viewer's that outlives the page where storage is allowed, and that tabs share. */
export class Preference<T extends string> {
  private chosen: T;
  private readonly listeners = new Set<() => void>();

  /** The first value is in force until another is chosen. */
  constructor(
    private readonly key: string,
    private readonly values: readonly [T, ...T[]],
  ) {
    this.chosen = this.saved();
    window.addEventListener("storage", (event) => {
      if (event.key === this.key || event.key === null) this.set(this.saved());
    });
  }

  get value(): T {
    return this.chosen;
  }

  choose(value: T): void {
    try {
      localStorage.setItem(this.key, value);
    } catch {
      // Storage may be forbidden; the choice then holds for this page.
    }
    this.set(value);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private set(value: T): void {
    this.chosen = value;
    for (const listener of this.listeners) listener();
  }

  private saved(): T {
    let text: string | null = null;
    try {
      text = localStorage.getItem(this.key);
    } catch {
      // As above.
    }
    return this.values.find((value) => value === text) ?? this.values[0];
  }
}

export function usePreference<T extends string>(preference: Preference<T>): T {
  return useSyncExternalStore(preference.subscribe, () => preference.value);
}
