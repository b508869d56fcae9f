import type { ReactNode } from "react";

interface Props {
  kind: "error" | "empty" | "info";
  title: string;
  children?: ReactNode;
}

const SHAPES = { error: "!", empty: "∅", info: "i" };

/** A state of the page that is not numbers. Errors are read out at once. */
export function Notice({ kind, title, children }: Props) {
  return (
    <section className={`notice ${kind}`} role={kind === "error" ? "alert" : "status"} data-testid={`notice-${kind}`}>
      <span className="shape" aria-hidden="true">
        {SHAPES[kind]}
      </span>
      <div>
        <h2>{title}</h2>
        {children}
      </div>
    </section>
  );
}
