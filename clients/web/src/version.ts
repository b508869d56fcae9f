/** Version of this package, reported as `SdkVersion`. */
export const VERSION = "0.1.0";
