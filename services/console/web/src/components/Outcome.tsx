import type { Attempt } from "../api";

const OUTCOMES: Record<Attempt["Outcome"], { shape: string; word: string; severity: string }> = {
  delivered: { shape: "✓", word: "delivered", severity: "low" },
  failed: { shape: "↻", word: "failed, tried again", severity: "moderate" },
  "given-up": { shape: "✕", word: "given up", severity: "high" },
};

export function Outcome({ outcome }: { outcome: Attempt["Outcome"] }) {
  const { shape, word, severity } = OUTCOMES[outcome];
  return (
    <span className={`pill ${severity}`}>
      <span className="shape" aria-hidden="true">
        {shape}
      </span>{" "}
      {word}
    </span>
  );
}
