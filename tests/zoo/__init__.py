"""The zoo: real models of torchvision and transformers, each counted here and by a road that is not ours."""
