// Compares two sentences, from a page.

import { Client } from "webinfer/web";

const MODEL = "all-MiniLM-L6-v2";
const address = new URLSearchParams(location.search).get("service") ?? "http://localhost:50051";
const client = new Client(address);
const form = document.querySelector("form");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const output = form.querySelector("output");
  try {
    await client.models.load(MODEL, { progress: ({ phase }) => (output.value = phase) });
    const { results } = await client.infer(MODEL, [form.first.value, form.second.value]);
    const [a, b] = results.map((result) => result.embedding);
    const cosine = a.reduce((sum, value, at) => sum + value * b[at], 0);
    const { backendUsed, browser } = results[0].execution;
    output.value = `${cosine.toFixed(3)}, by ${backendUsed} in ${browser}`;
  } catch (error) {
    output.value = error.message;
  }
});
