/** Styles: files that the build takes along. */
declare module "*.css";
