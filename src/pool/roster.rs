//! Roster: what each place of the pool is for, and which step comes next so that as many browsers serve as should. A spare
//! is up and loaded, and takes over from a browser that is lost or worn; so does the successor of one that is recycled.
//! Pure.

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing: it has no browser.
    Off,
    /// Its replicas take work.
    Serving,
    /// Its replicas are loaded, and take no work yet.
    Spare,
    /// It ends once it has run what it holds.
    Leaving,
}

/// What is known of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    /// Kind of browser that it has.
    pub kind: usize,
    /// What it is for.
    pub duty: Duty,
    /// Whether its browser is up.
    pub up: bool,
    /// Whether it has a replica of all that it would need to take over.
    pub warm: bool,
    /// Whether its browser is to be replaced.
    pub worn: bool,
    /// Whether it holds no work.
    pub idle: bool,
}

/// How many there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Browsers that serve.
    pub serving: usize,
    /// Spares beside them.
    pub spares: usize,
}

/// The next step: the place of that index gets another duty.
pub type Step = (usize, Duty);

/// The next step, if any. To be asked again after each.
pub fn next(posts: &[Post], target: Target) -> Option<Step> {
    let find = |wanted: &dyn Fn(&Post) -> bool| posts.iter().position(wanted);
    let count = |duty| posts.iter().filter(|post| post.duty == duty).count();
    let serving = count(Duty::Serving);
    if let Some(done) = find(&|post| post.duty == Duty::Leaving && (post.idle || !post.up)) {
        return Some((done, Duty::Off));
    }
    let ready = find(&|post| post.duty == Duty::Spare && post.up && post.warm);
    let lost = find(&|post| post.duty == Duty::Serving && !post.up);
    let worn = find(&|post| post.duty == Duty::Serving && post.up && post.worn);
    if serving > target.serving {
        // First what is of least use. What is up ends its work first.
        let last = || posts.iter().rposition(|post| post.duty == Duty::Serving);
        let leaves = lost.or(worn).or_else(last)?;
        return Some((leaves, if posts[leaves].up { Duty::Leaving } else { Duty::Off }));
    }
    if let Some(ready) = ready {
        if serving < target.serving {
            return Some((ready, Duty::Serving));
        }
        // The two change places in two steps: first the one that is lost or worn, then, as one lacks, the spare.
        if let Some(lost) = lost {
            return Some((lost, Duty::Spare));
        }
        if let Some(worn) = worn {
            return Some((worn, Duty::Leaving));
        }
    }
    // The kind that is rarest among those that stay comes next, so that a pool of several kinds keeps its mixture.
    let stay = |kind| {
        let stays = |post: &&Post| matches!(post.duty, Duty::Serving | Duty::Spare) && !post.worn && post.kind == kind;
        posts.iter().filter(stays).count()
    };
    let off = posts.iter().enumerate().filter(|(_, post)| post.duty == Duty::Off);
    let off = off.min_by_key(|(index, post)| (stay(post.kind), *index)).map(|(index, _)| index);
    if serving < target.serving {
        return off.map(|off| (off, Duty::Serving));
    }
    let spares = target.spares + usize::from(worn.is_some());
    match count(Duty::Spare) {
        have if have < spares => off.map(|off| (off, Duty::Spare)),
        have if have > spares => {
            let cold = find(&|post| post.duty == Duty::Spare && !(post.up && post.warm));
            cold.or_else(|| posts.iter().rposition(|post| post.duty == Duty::Spare)).map(|spare| (spare, Duty::Off))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Duty, Post, Target, next};

    fn post() -> impl Strategy<Value = Post> {
        let duty = prop_oneof![Just(Duty::Off), Just(Duty::Serving), Just(Duty::Spare), Just(Duty::Leaving)];
        (0usize..3, duty, any::<[bool; 4]>()).prop_map(|(kind, duty, [up, warm, worn, idle])| {
            let up = up && duty != Duty::Off;
            Post { kind, duty, up, warm: warm && up, worn: worn && up, idle }
        })
    }

    fn able(posts: &[Post]) -> usize {
        posts.iter().filter(|post| post.duty == Duty::Serving && post.up).count()
    }

    fn apply(posts: &mut [Post], (index, duty): (usize, Duty)) {
        let post = &mut posts[index];
        post.duty = duty;
        if duty == Duty::Off {
            *post = Post { duty, up: false, warm: false, worn: false, idle: true, ..*post };
        }
    }

    proptest! {
        /// The steps end, and never leave fewer able to serve than before and should be.
        #[test]
        fn it_settles_without_a_gap(
            mut posts in proptest::collection::vec(post(), 1..12),
            serving in 0usize..5,
            spares in 0usize..3,
        ) {
            let target = Target { serving, spares };
            let before = able(&posts).min(serving);
            let mut steps = 0;
            while let Some(step) = next(&posts, target) {
                apply(&mut posts, step);
                steps += 1;
                prop_assert!(steps < 100, "it goes round in circles: {posts:?}");
            }
            prop_assert!(able(&posts) >= before, "{posts:?}");
            let count = |duty| posts.iter().filter(|post| post.duty == duty).count();
            prop_assert!(count(Duty::Serving) <= serving.max(before));
            let off = count(Duty::Off) > 0;
            prop_assert!(!off || count(Duty::Serving) == serving);
            // No one lost still counts as serving while a spare could.
            let ready = posts.iter().any(|post| post.duty == Duty::Spare && post.up && post.warm);
            prop_assert!(!ready || able(&posts) == serving, "{posts:?}");
        }
    }

    const UP: Post = Post { kind: 0, duty: Duty::Serving, up: true, warm: true, worn: false, idle: false };

    #[test]
    fn a_worn_browser_stays_until_its_successor_is_warm() {
        let target = Target { serving: 1, spares: 0 };
        let off = Post { duty: Duty::Off, up: false, warm: false, idle: true, ..UP };
        let mut posts = [Post { worn: true, ..UP }, off];
        assert_eq!(next(&posts, target), Some((1, Duty::Spare)));
        posts[1] = Post { duty: Duty::Spare, warm: false, idle: true, ..UP };
        assert_eq!(next(&posts, target), None);
        posts[1].warm = true;
        assert_eq!(next(&posts, target), Some((0, Duty::Leaving)));
        posts[0].duty = Duty::Leaving;
        assert_eq!(next(&posts, target), Some((1, Duty::Serving)));
        posts[1].duty = Duty::Serving;
        assert_eq!(next(&posts, target), None);
        posts[0].idle = true;
        assert_eq!(next(&posts, target), Some((0, Duty::Off)));
    }

    #[test]
    fn a_pool_keeps_its_mixture() {
        let off = |kind| Post { kind, duty: Duty::Off, up: false, warm: false, idle: true, ..UP };
        let mut posts = [off(0), off(1), off(2), off(0), off(1), off(2)];
        let target = Target { serving: 3, spares: 0 };
        for place in 0..3 {
            assert_eq!(next(&posts, target), Some((place, Duty::Serving)));
            posts[place] = Post { kind: place, ..UP };
        }
        assert_eq!(next(&posts, target), None);
        posts[1].worn = true;
        assert_eq!(next(&posts, target), Some((4, Duty::Spare)), "its successor is of its kind");
    }

    #[test]
    fn a_spare_takes_over_from_a_lost_browser_which_becomes_the_spare() {
        let target = Target { serving: 1, spares: 1 };
        let mut posts = [Post { up: false, warm: false, ..UP }, Post { duty: Duty::Spare, idle: true, ..UP }];
        assert_eq!(next(&posts, target), Some((0, Duty::Spare)));
        posts[0].duty = Duty::Spare;
        assert_eq!(next(&posts, target), Some((1, Duty::Serving)));
    }
}
