"""The console's pages: TypeScript, built by Vite into `dist`."""
