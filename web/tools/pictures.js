// Draws the pictures of the documentation from the pages, with a few people who talk.
//
//   MINI_SNS_PACKAGES=... MINI_SNS_BIN=... node web/tools/pictures.js FOLDER
import { join } from "node:path";
import { Server, launch, visit } from "../test/browser/world.js";

const [folder] = process.argv.slice(2);
if (!folder) throw new Error("name the folder to draw into");

const PEOPLE = [
  ["hanako", "花子", "朝の散歩と、窓辺の植物。"],
  ["kenji_ramen", "健二", "ラーメンを食べ歩いています。"],
  ["lena_fischer", "Lena Fischer", "Learns Japanese, teaches German, mixes both up."],
  ["zoe_chen", "Zoë Chen", "Climber, coffee roaster, owner of one very slow dog."],
  ["sakura_books", "さくら", "本屋の店員。読むのは遅いけれど、だいたいいつも何か読んでいます。"],
  ["ingrid_s", "Ingrid Solberg", "Marine biologist in Tromsø. Mostly kelp, sometimes whales."],
];

const POSTS = [
  ["zoe_chen", "The slow dog has reached the corner. We expect the bakery by noon."],
  ["kenji_ramen", "駅裏の煮干しラーメン、スープがやさしい。並ぶ価値あり。 #ラーメン"],
  ["ingrid_s", "Field notes, day 12:\n– fingers: cold\n– data: excellent\n– sandwich: stolen by gull"],
  ["sakura_books", "閉店前の静かな棚が好きです。今日は @hanako さんのおすすめの一冊を読みました。"],
  ["lena_fischer", "Small victory: understood a whole train announcement. It said that the train was late. #日本語"],
  ["hanako", "ベランダの朝顔が咲きました。青がいちばん先でした。"],
];

async function world(server) {
  const people = {};
  for (const [handle, name, bio] of PEOPLE) {
    people[handle] = await server.person(handle, name);
    await people[handle].as("PATCH", "/users/me", { bio });
  }
  const me = people.hanako;
  for (const handle of ["kenji_ramen", "lena_fischer", "sakura_books", "ingrid_s"]) {
    await me.follow(people[handle]);
    await people[handle].follow(me);
  }
  const written = [];
  for (const [handle, text] of POSTS) written.push(await people[handle].post(text));
  const handles = Object.keys(people);
  for (const [index, post] of written.entries()) {
    for (const handle of handles.slice(0, (index * 2) % 5 + 1)) {
      await people[handle].as("POST", `/posts/${post.postId}/likes`);
    }
  }
  return { people, me, post: written[4] };
}

const server = await new Server().start();
const browser = await launch();
try {
  const { people, me, post } = await world(server);
  const phone = { viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true };
  const desk = { viewport: { width: 1240, height: 760 } };
  const pictures = [
    ["web-home-desktop-light-en", "/", desk, "light", "en-US"],
    ["web-home-desktop-dark-ja", "/", desk, "dark", "ja-JP"],
    ["web-home-phone-light-ja", "/", phone, "light", "ja-JP"],
    ["web-profile-desktop-dark-en", "/@lena_fischer", desk, "dark", "en-US"],
    ["web-profile-phone-dark-en", "/@lena_fischer", phone, "dark", "en-US"],
    ["web-post-phone-light-en", `/posts/${post.postId}`, phone, "light", "en-US"],
    ["web-find-phone-light-en", "/find?q=sa", phone, "light", "en-US"],
    ["web-explore-desktop-light-ja", "/explore", desk, "light", "ja-JP"],
    ["web-settings-phone-dark-ja", "/settings", phone, "dark", "ja-JP"],
    ["web-welcome-desktop-light-en", "/sign-up", desk, "light", "en-US"],
    ["web-welcome-phone-light-ja", "/sign-up", phone, "light", "ja-JP"],
  ];
  for (const [name, path, size, colorScheme, locale] of pictures) {
    const who = path === "/sign-up" ? null : me;
    const { context, page, go } = await visit(browser, server, who, { ...size, colorScheme, locale });
    await go(path);
    await page.locator("main article, main .person, main .form").first().waitFor();
    await page.waitForLoadState("networkidle");
    if (path === "/") {
      // Somebody writes while the page is read.
      const arrived = page.locator(".pill");
      const text = locale === "ja-JP" ? "終電の窓に、雨。" : "The tide table lied again.";
      const { postId } = await people.ingrid_s.post(text);
      await arrived.waitFor();
      await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
      await people.ingrid_s.as("DELETE", `/posts/${postId}`);
    } else {
      await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
    }
    await context.close();
  }
} finally {
  await browser.close();
  await server.end();
}
