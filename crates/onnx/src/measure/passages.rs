//! Text that models of tokens are run on, of many kinds, so that most of what a model does takes place.

/// Each has some fifty words: longer than what is used of it.
pub const PASSAGES: [&str; 16] = [
    "The river rises in the hills behind the old town and falls slowly through fields of barley and wheat until it meets \
     the sea. In spring the snow melts, and for a week or two the lower meadows stand under water, which the farmers \
     welcome because it brings good soil.",
    "To reset the device, hold the power button for ten seconds until the light turns red, then release it and wait. If the \
     light does not turn green within two minutes, unplug the cable, check that the fuse is not broken, and try again \
     before you call the service desk.",
    "Quarterly revenue grew by 4.2 % to 318 million, while operating costs fell for the third time in a row. The board \
     expects demand in the northern markets to remain weak, and proposes a dividend of 1.10 per share, payable in June to \
     holders of record on May 12.",
    "Why do leaves change their colour in autumn? As days grow shorter, trees stop making chlorophyll, the green pigment \
     that catches sunlight. Other pigments, which were there all summer, become visible: yellow and orange carotenoids, and \
     in some species red anthocyanins that are made anew.",
    "She put the letter back into the drawer, closed it without a sound and went to the window. Outside, two boys were \
     kicking a ball against the wall of the bakery, as they did every evening. Nothing had changed, she thought, and yet \
     nothing would ever be the same again.",
    "def mean(values): return sum(values) / len(values). The function above fails for an empty list, because a division by \
     zero raises an exception; return None in that case, or let the caller decide. Write a test for both cases and run it \
     before you commit the change.",
    "The patient, a 54-year-old woman, reported pain in the left shoulder for three weeks, worse at night. There was no \
     fever and no injury. Movement was limited in all directions; the X-ray showed no fracture. Physiotherapy twice a week \
     was advised, and a second visit after a month.",
    "Beat the eggs with the sugar until they are pale, fold in the flour and the melted butter, and bake for twenty-five \
     minutes at 180 degrees. Let the cake cool in its tin. Serve it with fresh berries, or with a sauce of dark chocolate \
     and a little cream.",
    "The court held that the contract was void, since one party had been misled about the state of the building. The \
     seller knew of the damp in the cellar and did not mention it when asked. He must repay the price in full, with \
     interest from the day of the sale.",
    "After a goalless first half the visitors took the lead from a corner, but the home side answered within five minutes. \
     In the closing stages both teams had chances to win; the best of them fell to the captain, whose header struck the \
     post and rolled along the line into the keeper's hands.",
    "Light from that galaxy left it thirteen billion years ago, when the universe was young. What the telescope records \
     is a faint red smudge, because space itself has stretched the waves on their way. From its spectrum astronomers read \
     how fast its stars were forming, and of which elements they were made.",
    "Dear Ms. Okafor, thank you for your order of 12 November. Unfortunately the blue chairs are sold out until January. \
     We can send you the same model in green at once, or refund the amount of 249.00. Please let us know which you prefer \
     by Friday. With kind regards.",
    "The bridge was opened in 1894 after eight years of work. Two towers of steel, clad in granite, carry the walkways, \
     and between them the road can be raised in about a minute to let tall ships pass. Fewer than a thousand times a year \
     is it opened nowadays, mostly for sailing boats.",
    "I really wanted to like this film. The first scenes are beautiful, the music is wonderful, and the leading actress \
     is as good as ever. But the story makes no sense, the jokes are old, and after two and a half hours I was only glad \
     that it was over. What a waste.",
    "Compound interest means that interest is paid on interest. A sum of one hundred at five per cent becomes one hundred \
     and five after a year, and a little more than one hundred and ten after two. It doubles in about fourteen years, which \
     many people find surprising when they first hear of it.",
    "Migrating birds find their way by the sun, the stars and the magnetic field of the Earth. Young storks that were \
     raised in captivity and released late still flew south, though no older bird showed them the route. How they sense \
     the field is not understood; a protein in the eye may play a part.",
];
