//! The half of the demo world that writes English.

use super::people::Profile;

pub(super) static PEOPLE: [Profile; 15] = [
    Profile {
        handle: "maya_builds",
        name: "Maya Okafor",
        bio: "Engineer, tinkerer, breaker of toasters. I build small things that last.",
        posts: [
            "Shipped the smallest possible version today. It does one thing, and does it well. 🚢",
            "Hot take: the best feature of any tool is a good error message.",
            "@yuki_tanaka tell your cats that flexbox agrees with them 😹",
            "Weekend project: a doorbell that plays a random bird call. The neighbours are \
             confused. #diy",
        ],
    },
    Profile {
        handle: "tom_hargreaves",
        name: "Tom Hargreaves",
        bio: "Allotment, old maps, long walks. Retired postman, so yes, I know your street.",
        posts: [
            "First broad beans of the year. Small, but I have told everyone on the bus \
             about them. 🌱",
            "Found a 1932 map of our town. My house is a pond.",
            "Twelve miles today, two pubs, one very opinionated sheep. 🐑",
            "Rain again. The water butts are full and so is my diary.\n#allotment",
        ],
    },
    Profile {
        handle: "ingrid_s",
        name: "Ingrid Solberg",
        bio: "Marine biologist in Tromsø. Mostly kelp, sometimes whales.",
        posts: [
            "Orca pod off the pier this morning. Nobody at the meeting minded that I was late. 🐋",
            "Kelp grows up to half a metre a day. I, on the other hand, need three coffees \
             to stand up.",
            "The polar night is over: the sun was up for 41 minutes and we all went outside \
             to look at it. ☀️",
            "Field notes, day 12:\n- fingers: cold\n- data: excellent\n- sandwich: stolen by gull",
        ],
    },
    Profile {
        handle: "leo_moreau",
        name: "Léo Moreau",
        bio: "Baker in Lyon. Up at three, asleep by nine. Pain au levain et bonne humeur.",
        posts: [
            "3:10 in the morning and the sourdough is already more awake than I am. 🥖",
            "A customer asked for “the ugly one, it always tastes better”. She is right.",
            "Butter: 82 %. Patience: 100 %. #croissant",
            "New oven day! I have named it Gérard.",
        ],
    },
    Profile {
        handle: "priya_nair",
        name: "Priya Nair",
        bio: "Databases, chai, and crosswords. I read query plans for fun.",
        posts: [
            "It was the missing index. It is always the missing index.",
            "Reminder: a backup that you have never restored is a hope, not a backup.\n#databases",
            "@haruto_s “exactly once” is at least once plus good manners 🙂",
            "Crossword in 7:42 today, and only one coffee stain. ☕",
        ],
    },
    Profile {
        handle: "jack_otoole",
        name: "Jack O'Toole",
        bio: "Fiddle player, session regular, terrible at tuning in the cold.",
        posts: [
            "Session tonight at the usual place. Bring an instrument or an opinion. 🎻",
            "Learned a tune from a man who learned it from a man who made it up. That's the \
             archive.",
            "Broke an E string mid-reel and nobody noticed. Not sure how to feel about it.",
            "@nao_piano would love to hear your take on a slow air on the piano some day!",
        ],
    },
    Profile {
        handle: "sofia_reyes",
        name: "Sofía Reyes",
        bio: "Architect. Shade, bricks and bicycle lanes. Mexico City.",
        posts: [
            "A bench in the shade does more for a street than any monument. 🌳",
            "Counted: 212 bicycles in one hour on the new lane. Last year it was 37.",
            "Sketching in the market again. The mangoes keep moving. 🥭",
            "If a building needs a sign that says “entrance”, the door is in the wrong \
             place. #architecture",
        ],
    },
    Profile {
        handle: "ben_kaplan",
        name: "Ben Kaplan",
        bio: "Writes a newsletter about trains, buses and why they're late.",
        posts: [
            "New issue is out: why your bus comes in threes, explained with \
             marbles.\nhttps://example.com/newsletter/17",
            "Took the night train instead of the plane. Woke up in the mountains. 10/10.",
            "@ren_trains I envy you: a timetable you can set your watch by!",
            "Every city gets the public transport it is willing to sit next to each other \
             for. #transit",
        ],
    },
    Profile {
        handle: "amelie_d",
        name: "Amélie Dubois",
        bio: "Illustrator. Ink on my fingers, usually also on the tea.",
        posts: [
            "Drew forty hands today. Hands remain impossible. ✍️",
            "A client wrote “make it more like the first sketch”. Framing that e-mail.",
            "Tiny watercolour of the view from the tram, done between two stops. 🎨",
            "@mio_photo your rainy alley photo is my new favourite thing on here.",
        ],
    },
    Profile {
        handle: "oscar_lind",
        name: "Oscar Lind",
        bio: "Sysadmin by day, stargazer by night. It's never DNS, until it is.",
        posts: [
            "It was DNS.",
            "Saw Saturn's rings from the balcony with a telescope that cost less than my \
             keyboard. 🪐",
            "Uptime is a team sport. Thank your on-call colleague today.",
            "Clear sky tonight, moonset at 23:10. Coffee in the flask, phone on red light. \
             #astronomy",
        ],
    },
    Profile {
        handle: "nina_petrova",
        name: "Nina Petrova",
        bio: "Chess coach and cold-water swimmer. Both are about breathing.",
        posts: [
            "Water: 6 degrees. Me: very awake. 🏊",
            "A student beat me today with an opening that I taught her. Best day of the month. ♟️",
            "Before you move: what does your opponent want? Works outside of chess as well.",
            "Two minutes in the lake, twenty minutes of smiling. #coldwater",
        ],
    },
    Profile {
        handle: "sam_whitaker",
        name: "Sam Whitaker",
        bio: "Primary school teacher. Collects questions from seven-year-olds.",
        posts: [
            "Today's question: “Do fish know it's raining?” I have been thinking about it \
             ever since. 🐟",
            "Class voted to name the hamster “Professor”. He has tenure now. 🐹",
            "Parents' evening done. Voice: gone. Biscuits: also gone.",
            "“What is the biggest number you have met?” asked a boy with no front teeth. \
             Philosophy!",
        ],
    },
    Profile {
        handle: "zoe_chen",
        name: "Zoë Chen",
        bio: "Climber, coffee roaster, owner of one very slow dog.",
        posts: [
            "New roast: Ethiopian natural, tastes like someone left blueberries in the sun. ☕",
            "Finally sent the route that has been spitting me off since March. 🧗",
            "My dog walked 400 metres today and would like everyone to know. 🐕",
            "Grind finer. That's the post. #coffee",
        ],
    },
    Profile {
        handle: "marcus_t",
        name: "Marcus Thompson",
        bio: "Community radio on Thursdays, vinyl all week.",
        posts: [
            "Tonight on the show: two hours of B-sides that should have been A-sides. 📻",
            "Found the record I sold in 2004. Bought it back. It still has my handwriting \
             on the sleeve.",
            "Side one, track one, volume up. Good morning! 🎶",
            "Send me your best song under two minutes. I'll start: most of them.\n#radio",
        ],
    },
    Profile {
        handle: "lena_fischer",
        name: "Lena Fischer",
        bio: "Learns Japanese, teaches German, mixes both up. 日本語勉強中です。",
        posts: [
            "今日は日本語で「おいしい」を五回使いました。先生、ごめんなさい😅",
            "German compound of the day: Feierabendspaziergang, the walk after work is done. 🚶",
            "@chiyo_tea 新茶をいただきました。とてもおいしいです（六回目）🍵",
            "Small victory: understood a whole train announcement. It said that the train \
             was late. #日本語",
        ],
    },
];
