/**
 * Client of webinfer, a gRPC inference server whose accelerators are web browsers.
 *
 * <p>{@link dev.webinfer.WebinferClient} is the way in. Requests are made with {@link dev.webinfer.Request} and {@link
 * dev.webinfer.Inputs}, answers are read with {@link dev.webinfer.InferResult} and {@link dev.webinfer.Output}, and
 * every failed call throws a {@link dev.webinfer.WebinferException}. The messages of the API are in {@code
 * dev.webinfer.v1}, and are passed on as they are wherever they say enough.
 */
package dev.webinfer;
