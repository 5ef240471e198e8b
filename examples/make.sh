#!/usr/bin/env bash
# Makes the clips of this folder, or of the one named: ./make.sh [FOLDER]. They come out the same every time.
set -euo pipefail

voices=(slt rms awb kal16)
sentences=(
    "Please send the second parcel to my sister, since the first one has still not reached her."
    "The small ferry leaves the old harbour at seven and brings fresh bread and letters to the island."
)

fail() {
    echo "make.sh: $1" >&2
    exit 1
}

for program in flite flac; do
    command -v "$program" >/dev/null || fail "there is no $program; on Debian: apt-get install flite flac"
done
for voice in "${voices[@]}"; do
    [[ " $(flite -lv) " == *" $voice "* ]] || fail "this flite has no voice $voice; the one that Debian ships has it"
done

folder=${1:-$(dirname "$0")}
[[ -d $folder ]] || fail "there is no folder $folder"
made=$(mktemp -d)
trap 'rm -r "$made"' EXIT

for voice in "${voices[@]}"; do
    for number in "${!sentences[@]}"; do
        clip=$made/$voice-$((number + 1))
        flite -voice "$voice" -t "${sentences[number]}" -o "$clip.wav"
        flac --silent --best --no-padding -o "$clip.flac" "$clip.wav"
    done
done
mv "$made"/*.flac "$folder"
