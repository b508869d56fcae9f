import { Children, type ReactNode } from "react";

interface Props {
  title: string;
  id: string;
  remark: string;
  columns: Column[];
  /** Shown in the place of rows where there are none. */
  empty: ReactNode;
  error?: string | null;
  /** What narrows the rows down. */
  tools?: ReactNode;
  children: ReactNode;
  footer?: ReactNode;
}

export interface Column {
  title: string;
  number?: boolean;
}

/** A titled table that scrolls by itself where it is larger than its place, by keyboard too. */
export function Table({ title, id, remark, columns, empty, error = null, tools, children, footer }: Props) {
  const none = Children.count(children) === 0;
  return (
    <section className={`panel ${id}`} aria-labelledby={`${id}-title`} data-testid={id}>
      <div className="heading">
        <h2 id={`${id}-title`}>{title}</h2>
        <p className="remark">{remark}</p>
        <div className="tools">{tools}</div>
      </div>
      {error !== null && (
        <p className="failure" role="alert">
          {error}
        </p>
      )}
      <div className="scroller" tabIndex={0} role="region" aria-label={`${title}, row by row`}>
        <table>
          <thead>
            <tr>
              {columns.map(({ title, number }) => (
                <th key={title} scope="col" className={number ? "number" : ""}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {none && error === null && (
              <tr className="none">
                <td colSpan={columns.length}>{empty}</td>
              </tr>
            )}
            {children}
          </tbody>
        </table>
      </div>
      {footer}
    </section>
  );
}
