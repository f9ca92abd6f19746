// Loaded before each test file in CI: property tests draw the same cases each time there, so that a change is never
// blamed for a rare case that was always there. Elsewhere they draw new ones and find those cases.
import fc from 'fast-check';

fc.configureGlobal({ seed: 2021 });
