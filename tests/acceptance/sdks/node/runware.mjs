// Runware's Node package, unmodified, in the hands of a user of this service.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

import { Runware } from "@runware/sdk-js";

import { NOBODY, fetchAll, given, keepBase64, keepDataUri, outcomeOf, play } from "./play.mjs";

const WISH = {
  model: "bytedance:uso@1",
  positivePrompt: "a harbour",
  referenceImages: given.references.slice(0, 3),
  width: 512,
  height: 512,
  steps: 2,
  seed: 7,
  outputFormat: "PNG",
};
const OTHERS = WISH.referenceImages.slice(1);
const INSIDE = `data:image/png;base64,${readFileSync(given.picture).toString("base64")}`;

const client = await clientOf(given.alice);

function clientOf(apiKey) {
  const url = `${given.base_url.replace("http", "ws")}/v1`;
  return Runware.initialize({ apiKey, url, heartbeatInterval: 10_000 }); // the shortest: some cases take longer
}

function inference(change = {}) {
  return client.imageInference({ ...WISH, ...change });
}

async function drawn(change) {
  return { pictures: await fetchAll(urlsOf(await inference(change))) };
}

function urlsOf(results) {
  return results.map((result) => result.imageURL);
}

/** Ask for the results of a task until none is in the making; return them, and the words seen on the way. */
async function resultsOf(taskUUID) {
  const seen = new Set();
  for (;;) {
    const results = await client.getResponse({ taskUUID });
    results.forEach((result) => seen.add(result.status));
    if (!results.some((result) => result.status === "processing")) return { results, seen: [...seen] };
  }
}

await play({
  async uso() {
    const results = await inference({ includeCost: true });
    return { results, pictures: await fetchAll(urlsOf(results)) };
  },

  again: () => drawn(),
  uno: () => drawn({ model: "bytedance:uno@1", referenceImages: given.references, outputFormat: "WEBP" }),
  custom: () => drawn({ width: 320, height: 250, outputFormat: "JPG", outputQuality: 80 }),
  seedImage: () => drawn({ seedImage: WISH.referenceImages[0], referenceImages: OTHERS }),

  async pair() {
    const parts = [];
    const onPartialImages = (images, error) => parts.push({ count: images.length, error });
    const results = await inference({ seed: 6, numberResults: 2, onPartialImages });
    return { parts, seeds: results.map(({ seed }) => seed), pictures: await fetchAll(urlsOf(results)) };
  },

  async inline() {
    const [naked] = await inference({ outputType: "base64Data" });
    const [dressed] = await inference({ outputType: "dataURI" });
    return { pictures: [keepBase64(naked.imageBase64Data), keepDataUri(dressed.imageDataURI)] };
  },

  async uploaded() {
    const { imageUUID } = await client.imageUpload({ image: INSIDE });
    const { mediaUUID } = await client.mediaStorage({ media: INSIDE });
    const wishes = [imageUUID, mediaUUID, INSIDE].map((image) => ({ referenceImages: [image, ...OTHERS] }));
    const results = await Promise.all(wishes.map(drawn));
    return { pictures: results.flatMap(({ pictures }) => pictures) };
  },

  async polled() {
    const taskUUID = randomUUID();
    const acknowledged = await inference({ taskUUID, deliveryMethod: "async", numberResults: 2, seed: 6 });
    const { results, seen } = await resultsOf(taskUUID);
    return { taskUUID, acknowledged, seen, pictures: await fetchAll(urlsOf(results)) };
  },

  async webhook() {
    const taskUUID = randomUUID();
    await inference({ taskUUID, webhookURL: `${given.receiver}/runware-js?secret=a%2Fb` });
    return taskUUID;
  },

  delivered: () => drawn({ uploadEndpoint: `${given.receiver}/bucket?signature=a%2Fb` }),

  async details() {
    const taskUUID = randomUUID();
    await inference({ taskUUID });
    return client.getTaskDetails({ taskUUID });
  },

  async usedTwice() {
    const taskUUID = randomUUID();
    await inference({ taskUUID });
    return inference({ taskUUID, seed: 8 });
  },

  async foreign() {
    const taskUUID = randomUUID();
    await inference({ taskUUID });
    const { imageUUID } = await client.imageUpload({ image: INSIDE });
    const stranger = await clientOf(given.bob);
    const read = await outcomeOf(stranger.getResponse({ taskUUID }));
    const used = await outcomeOf(stranger.imageInference({ ...WISH, referenceImages: [imageUUID] }));
    await stranger.disconnect();
    return { read, used };
  },

  badInput: () => inference({ steps: 99 }),
  unknownField: () => inference({ sharpness: 3 }),
  missing: () => inference({ referenceImages: [`${WISH.referenceImages[0]}-gone`] }),
  wrongKey: () => clientOf(NOBODY),
});

await client.disconnect();
process.exit(); // the package goes on counting the time of the refused key
