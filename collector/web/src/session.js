// SPDX-License-Identifier: GPL-3.0-or-later
import { signal } from '@preact/signals';

// undefined: not known yet; null: nobody is signed in; else {user, role}.
export const session = signal(undefined);
