import { MAX_SEARCH } from "../api";

interface Props {
  label: string;
  value: string;
  onChange: (text: string) => void;
  testId: string;
}

export function Search({ label, value, onChange, testId }: Props) {
  return (
    <input
      type="search"
      className="search"
      placeholder={label}
      aria-label={label}
      maxLength={MAX_SEARCH}
      autoComplete="off"
      spellCheck={false}
      value={value}
      data-testid={testId}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}
