import { Children, type ReactNode } from "react";

interface Props {
  title: string;
  id: string;
  remark: string;
  /** Headings; those of numbers begin with "#". */
  columns: string[];
  /** Shown in the place of rows where there are none. */
  empty: string;
  error?: string | null;
  children: ReactNode;
  footer?: ReactNode;
}

/** A titled table that scrolls sideways by itself where the page is narrow, by keyboard too. */
export function Table({ title, id, remark, columns, empty, error = null, children, footer }: Props) {
  const none = Children.count(children) === 0;
  return (
    <section className="panel" aria-labelledby={`${id}-title`} data-testid={id}>
      <div className="heading">
        <h2 id={`${id}-title`}>{title}</h2>
        <p className="remark">{remark}</p>
      </div>
      {error !== null && (
        <p className="failure" role="alert">
          {error}
        </p>
      )}
      <div className="scroller" tabIndex={0} role="region" aria-labelledby={`${id}-title`}>
        <table>
          <thead>
            <tr>
              {columns.map((column) => (
                <th key={column} scope="col" className={column.startsWith("#") ? "number" : ""}>
                  {column.replace(/^#/, "")}
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
