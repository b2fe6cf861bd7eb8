//! What people say while the visitor looks on: sentences put together from parts, so that the
//! stream does not soon repeat itself.

use super::people::FIRST_ENGLISH;

/// `{a}`, `{b}`: a word from the lists of the language; `{n}`: a small number; `{at}`: a handle.
const JAPANESE: [&str; 26] = [
    "{a}で{b}。今日はもうこれで十分です。",
    "さっき{a}を通ったら、{b}を見かけました。",
    "{n}年ぶりに{a}に来た。ほとんど変わっていなくてうれしい。",
    "{a}の{b}、文句なしの満点です👏",
    "@{at} この前話していた{b}、{a}にありましたよ！",
    "@{at} わかります…！ 私も{a}で同じことがありました😂",
    "今日の目標：{a}まで歩く。{b}は見るだけ。",
    "{b}を買うつもりで出かけて、{a}でお茶だけ飲んで帰ってきた☕",
    "{n}時間くらい{a}にいた気がする。{b}がよすぎた。",
    "だれか{a}のおすすめを教えてください🙏",
    "{a}、{n}回目。飽きない。",
    "今週のよかったこと\n・{a}に行けた\n・{b}\n・よく寝た\n#今週のよかったこと",
    "朝いちばんの{a}は空気がちがう。",
    "{b}の話をしていたら、{n}人も仲間が見つかった。#好きなもの",
    "雨の{a}も悪くない☔",
    "帰り道に{a}に寄り道。{b}が待っていました。",
    "{b}について語りだすと{n}時間は止まりません。ご注意ください。",
    "@{at} 今度いっしょに{a}に行きませんか？",
    "夕方の{a}がきれいでした🌇",
    "{a}まであと{n}駅。席に座れたのでもう勝ちです。",
    "昨日の{b}がまだ頭から離れない。",
    "{n}日続いたので、{b}はもう習慣と言っていいと思う💪",
    "今日は何もしないと決めて、{a}で{b}を眺めていた。",
    "@{at} すごい！ おめでとうございます🎉",
    "{b}、はじめました。#はじめの一歩",
    "お昼は{a}で。{b}のことは午後に考える。",
];

const JAPANESE_A: [&str; 14] = [
    "駅前の喫茶店",
    "近所の公園",
    "川沿いの道",
    "いつもの本屋",
    "商店街",
    "坂の上の神社",
    "図書館",
    "海の見える駅",
    "路地裏のパン屋",
    "古い映画館",
    "植物園",
    "港の市場",
    "屋上",
    "隣町の銭湯",
];

const JAPANESE_B: [&str; 14] = [
    "焼きたてのメロンパン",
    "三毛猫",
    "新しい万年筆",
    "金木犀の香り",
    "ガラスの風鈴",
    "手書きの看板",
    "朝の光",
    "冷やし中華",
    "中古のレコード",
    "虹",
    "手作りの味噌",
    "小さな展覧会",
    "夕焼け",
    "知らない曲",
];

const ENGLISH: [&str; 26] = [
    "Stopped by {a} for {b}. No regrets.",
    "{n} minutes at {a} and the day is fixed.",
    "Is it just me, or is {a} better in the rain? ☔",
    "@{at} you were right about {a}!",
    "@{at} have you tried {b}? Asking for a friend (me).",
    "Plan: {a}, then {b}, then nothing at all.",
    "Told myself I would only look at {b}. Reader, I bought {b}.",
    "{n} out of 10 people at {a} were smiling today. I counted. 🙂",
    "Things that made today good:\n- {a}\n- {b}\n- an early night",
    "Does anyone know a quiet corner near {a}? #askthehouse",
    "Overheard at {a}: “it's not procrastination, it's {b}”.",
    "Day {n} of {b}. Still not tired of it.",
    "The light at {a} this evening! 🌇",
    "Walked past {a} {n} times before I noticed {b}.",
    "@{at} that's wonderful news, congratulations! 🎉",
    "A stranger at {a} talked to me about {b} for {n} minutes, and I learned a lot.",
    "Small luxury: {b} at {a}, phone switched off.",
    "If you need me, I'll be at {a}. If you don't, also.",
    "Note to self: {b} first, e-mail later. 📝",
    "Somebody left {b} on the bench at {a}, with a note: “for whoever needs it”.",
    "{a} has a new sign, and it has a spelling mistake, and I love it.",
    "Ranking of the week: 1. {b} 2. {a} 3. everything else. #ranking",
    "@{at} next time you're in town: {a}, my treat ☕",
    "I have been thinking about {b} for {n} days now.",
    "Good morning from {a}! ☀️",
    "Finished early, so: {a}. It's the little things. #littlethings",
];

const ENGLISH_A: [&str; 14] = [
    "the corner café",
    "the old harbour",
    "the park behind the station",
    "the second-hand bookshop",
    "the covered market",
    "the hill above town",
    "the library roof",
    "the last tram stop",
    "the botanical garden",
    "the tiny cinema",
    "the community garden",
    "the lake path",
    "the night bus",
    "the repair shop",
];

const ENGLISH_B: [&str; 14] = [
    "a warm cinnamon roll",
    "a three-hour playlist",
    "a paper map",
    "an unreasonably good sandwich",
    "a new notebook",
    "a very calm dog",
    "a pot of green tea",
    "fresh figs",
    "a borrowed bicycle",
    "an unfinished novel",
    "a jar of honey",
    "a good argument about fonts",
    "sunlight on old bricks",
    "a song from 1978",
];

/// Something that the person with this number says, maybe to somebody with this handle.
pub(super) fn say(person: usize, handle: &str, dice: &mut fastrand::Rng) -> String {
    let (sentences, a, b) = if person < FIRST_ENGLISH {
        (&JAPANESE, &JAPANESE_A, &JAPANESE_B)
    } else {
        (&ENGLISH, &ENGLISH_A, &ENGLISH_B)
    };
    let mut text = sentences[dice.usize(..sentences.len())]
        .replace("{a}", a[dice.usize(..a.len())])
        .replace("{b}", b[dice.usize(..b.len())])
        .replace("{at}", handle);
    while text.contains("{n}") {
        text = text.replacen("{n}", &dice.u32(2..10).to_string(), 1);
    }
    // A sentence may begin with a part that is written small.
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_varies_and_leaves_no_gap() {
        let mut dice = fastrand::Rng::with_seed(3);
        let mut texts = std::collections::BTreeSet::new();
        for number in 0..2_000 {
            let text = say(number % 30, "yuki_tanaka", &mut dice);
            assert!(!text.contains(['{', '}']) && text.chars().count() <= 500, "{text}");
            texts.insert(text);
        }
        assert!(texts.len() > 1_000, "{}", texts.len());
    }
}
