// Plays a session with the official client and prints what it saw as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
  maxRetries: 0,
});
const seen = {};
const messages = [
  { role: "system", content: "Be kind." },
  { role: "user", content: "hello" },
];

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);

const whole = await client.chat.completions.create({ model: "echo", messages });
seen.chat = whole.choices[0].message.content;
seen.finish = whole.choices[0].finish_reason;

seen.parts = [];
const chunks = await client.chat.completions.create({
  model: "assistant",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of chunks) {
  const text = chunk.choices[0]?.delta?.content;
  if (text) seen.parts.push(text);
  if (chunk.usage) seen.usage = chunk.usage;
}

const response = await client.responses.create({ model: "echo", input: "hello" });
seen.response = response.output_text;

const stream = client.responses.stream({ model: "echo", input: "hello" });
seen.events = [];
for await (const event of stream) seen.events.push(event.type);
seen.streamed = (await stream.finalResponse()).output_text;

try {
  await client.chat.completions.create({ model: "nobody", messages });
} catch (error) {
  seen.error = {
    kind: error.constructor.name,
    status: error.status,
    code: error.code,
    param: error.param,
  };
}
try {
  await new OpenAI({ baseURL: client.baseURL, apiKey: "wrong" }).models.list();
} catch (error) {
  seen.unauthorized = { kind: error.constructor.name, code: error.code };
}
console.log(JSON.stringify(seen));
