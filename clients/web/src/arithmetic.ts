/** Arithmetic in which an unknown amount stays unknown. */

/** Sum of amounts over the time in which each was measured. */
export class Mean {
  private amount = 0;
  private over = 0;

  add(amount: number | undefined, over: number | undefined, share = 1): void {
    if (amount === undefined || over === undefined) return;
    this.amount += amount * share;
    this.over += over * share;
  }

  value(scale = 1): number | undefined {
    return this.over > 0 ? (this.amount / this.over) * scale : undefined;
  }
}

/** Sum of what was given; unknown while nothing was. */
export class Sum {
  private amount: number | undefined;

  add(amount: number | undefined, share = 1): void {
    if (amount !== undefined) this.amount = (this.amount ?? 0) + amount * share;
  }

  value(): number | undefined {
    return this.amount;
  }
}

/** Growth of a counter; unknown when either value is, or when it was set back. */
export function growth(from: number | undefined, to: number | undefined): number | undefined {
  return from === undefined || to === undefined || to < from ? undefined : to - from;
}

/**
 * Loudness 0 to 100 of mean square energy relative to full scale: 100 is the loudest sound, 20 less a tenth of the
 * amplitude, 0 silence.
 */
export function volumeOf(meanSquare: number): number {
  return meanSquare > 0 ? Math.max(0, Math.min(100, 100 + 10 * Math.log10(meanSquare))) : 0;
}

export function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}

export function maximum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}

export function whole(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.max(0, Math.round(value));
}

export function round(value: number | undefined, digits: number): number | undefined {
  return value === undefined ? undefined : Number(value.toFixed(digits));
}

export function percent(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Number(Math.max(0, Math.min(100, value)).toFixed(2));
}
