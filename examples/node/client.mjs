// Calls the shop of shop.py: node client.mjs ADDRESS

import { Client, Source } from "./rpc.mjs";

const UUID = "7d3c2b1a-5e4f-4c6d-8b9a-0f1e2d3c4b5a";
const STREAMS = { record: "in stream", search: "out stream" };

const shop = await Client.connect(process.argv[2], UUID, [1, 0], STREAMS);

console.log("paper costs", await shop.call("price", ["paper"]));
try {
  await shop.call("price", ["ink"]);
} catch (error) {
  console.log(`${error.raised} (${error.code}): ${error.message}`);
}

function* sales() {
  for (let each = 1; each <= 50_000; each++) yield { item: `blue pen ${each}`, price: 1.5 };
}
console.log("sold for", await shop.call("record", [], [new Source(sales())]));

let count = 0;
for await (const sale of shop.iterate("search", ["pen"])) {
  if (count++ === 0) console.log("the first is", sale.item, "for", sale.price);
}
console.log("found", count);

for await (const sale of shop.iterate("search", ["blue"])) {
  console.log("enough:", sale.item);
  break;
}
console.log("paper still costs", await shop.call("price", ["paper"]));
shop.close();
