import { type ReactNode, useEffect, useId, useRef } from "react";

interface Props {
  title: ReactNode;
  testId: string;
  onClose: () => void;
  children: ReactNode;
}

/** Something to look at before going on; Escape and the button end it, and the keyboard is back where it was. */
export function Dialog({ title, testId, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    if (dialog.current?.open === false) dialog.current.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} data-testid={testId} onClose={onClose}>
      <div className="heading">
        <h2 id={id}>{title}</h2>
        <button type="button" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
      {children}
    </dialog>
  );
}
