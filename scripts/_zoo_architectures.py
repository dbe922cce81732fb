"""The architectures of transformers: their kinds, and what small configurations and inputs of theirs need to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ARCHITECTURES", "INPUTS", "SIZES", "SMALL"]

ARCHITECTURES = {
    "decoder": """
        ApertusForCausalLM ArceeForCausalLM BartForCausalLM BertLMHeadModel BigBirdForCausalLM
        BigBirdPegasusForCausalLM BioGptForCausalLM BitNetForCausalLM BlenderbotForCausalLM BlenderbotSmallForCausalLM
        BloomForCausalLM CTRLLMHeadModel CamembertForCausalLM CodeGenForCausalLM Cohere2ForCausalLM CohereForCausalLM
        CpmAntForCausalLM CwmForCausalLM Data2VecTextForCausalLM DiffLlamaForCausalLM DogeForCausalLM
        ElectraForCausalLM Emu3ForCausalLM Ernie4_5ForCausalLM ErnieForCausalLM Exaone4ForCausalLM FalconForCausalLM
        FuyuForCausalLM GPT2LMHeadModel GPTBigCodeForCausalLM GPTJForCausalLM GPTNeoForCausalLM GPTNeoXForCausalLM
        GPTNeoXJapaneseForCausalLM Gemma2ForCausalLM Gemma3ForCausalLM GemmaForCausalLM Glm4ForCausalLM GlmForCausalLM
        GraniteDoclingTextModel GraniteForCausalLM GraniteSWAForCausalLM HeliumForCausalLM HrmTextForCausalLM
        HunYuanDenseV1ForCausalLM HyperCLOVAXForCausalLM Jais2ForCausalLM LlamaForCausalLM MBartForCausalLM
        MarianForCausalLM MegatronBertForCausalLM MiniCPM3ForCausalLM Ministral3ForCausalLM MinistralForCausalLM
        MistralForCausalLM ModernBertDecoderForCausalLM Molmo2TextModel MptForCausalLM MuseGlimmerTextModel
        MvpForCausalLM NanoChatForCausalLM NemotronForCausalLM OPTForCausalLM Olmo2ForCausalLM Olmo3ForCausalLM
        OlmoForCausalLM OpenAIGPTLMHeadModel PLBartForCausalLM PegasusForCausalLM PersimmonForCausalLM Phi3ForCausalLM
        PhiForCausalLM ProphetNetForCausalLM Qwen2ForCausalLM Qwen3ForCausalLM Qwen3VLTextModel
        ReformerModelWithLMHead RemBertForCausalLM RoCBertForCausalLM RoFormerForCausalLM RobertaForCausalLM
        RobertaPreLayerNormForCausalLM SeedOssForCausalLM SmolLM3ForCausalLM StableLmForCausalLM Starcoder2ForCausalLM
        VaultGemmaForCausalLM WhisperForCausalLM XGLMForCausalLM XLMRobertaForCausalLM XLMRobertaXLForCausalLM
        XLNetLMHeadModel
    """,
    "encoder": """
        AlbertForMaskedLM BertGenerationDecoder CLIPTextModel CanineModel ConvBertForMaskedLM DPRQuestionEncoder
        DebertaForMaskedLM DebertaV2ForMaskedLM DistilBertForMaskedLM EsmForMaskedLM EsmcForMaskedLM
        EuroBertForMaskedLM FNetForMaskedLM FlaubertWithLMHeadModel FunnelForMaskedLM GteForMaskedLM IBertForMaskedLM
        JinaEmbeddingsV3ForMaskedLM LayoutLMForMaskedLM LiltModel LongformerForMaskedLM LukeForMaskedLM
        MPNetForMaskedLM MarkupLMModel MobileBertForMaskedLM ModernBertForMaskedLM MraForMaskedLM NomicBertForMaskedLM
        NystromformerForMaskedLM PerceiverForMaskedLM SplinterModel SqueezeBertForMaskedLM TapasForMaskedLM
        Tipsv2TextModel UltrabertForMaskedLM XLMWithLMHeadModel XmodForCausalLM YosoForMaskedLM
    """,
    "encoder–decoder": """
        FSMTForConditionalGeneration LEDForConditionalGeneration LongT5ForConditionalGeneration
        M2M100ForConditionalGeneration MT5ForConditionalGeneration PegasusXForConditionalGeneration
        SeamlessM4TForTextToText SeamlessM4Tv2ForTextToText T5ForConditionalGeneration
        T5Gemma2ForConditionalGeneration T5GemmaForConditionalGeneration UMT5ForConditionalGeneration
        UdopForConditionalGeneration
    """,
    "mixture of experts": """
        AXK1ForCausalLM AfmoeForCausalLM AriaTextForCausalLM BeamForCausalLM Cohere2MoeForCausalLM
        DeepseekV2ForCausalLM DeepseekV32ForCausalLM DeepseekV3ForCausalLM DeepseekV4ForCausalLM Dots1ForCausalLM
        Ernie4_5_MoeForCausalLM ExaoneMoeForCausalLM FlexOlmoForCausalLM FlintForCausalLM Glm4MoeForCausalLM
        Glm4MoeLiteForCausalLM GlmMoeDsaForCausalLM GptOssForCausalLM GraniteMoeForCausalLM GraniteMoeSWAForCausalLM
        GraniteMoeSharedForCausalLM HYV3ForCausalLM HYV4ForCausalLM HunYuanMoEV1ForCausalLM Inkling2ForCausalLM
        InklingForCausalLM JetMoeForCausalLM Kolibri1ForCausalLM LagunaForCausalLM Llama4ForCausalLM
        LongcatFlashForCausalLM MellumForCausalLM MiMoV2FlashForCausalLM MiniMaxM2ForCausalLM MiniMaxM3VLForCausalLM
        Mistral4ForCausalLM MixtralForCausalLM MuseSparkTextModel NllbMoeForConditionalGeneration OlmoeForCausalLM
        OpenAIPrivacyFilterModel PhimoeForCausalLM Qwen2MoeForCausalLM Qwen3MoeForCausalLM Qwen3VLMoeTextModel
        SolarOpenForCausalLM SwitchTransformersForConditionalGeneration ZayaForCausalLM
    """,
    "state space": """
        BambaForCausalLM FalconH1ForCausalLM FalconMambaForCausalLM GraniteMoeHybridForCausalLM JambaForCausalLM
        Mamba2ForCausalLM MambaForCausalLM NemotronHForCausalLM
    """,
    "linear attention": """
        BailingHybridForCausalLM KimiLinearForCausalLM Lfm2ForCausalLM Lfm2MoeForCausalLM Lfm3ForCausalLM
        MiniMaxForCausalLM OlmoHybridForCausalLM Qwen3NextForCausalLM Qwen3_5ForCausalLM Qwen3_5MoeForCausalLM
        RecurrentGemmaForCausalLM RwkvForCausalLM
    """,
    "audio": """
        ASTModel AudioFlamingo3ForConditionalGeneration DacModel Data2VecAudioForCTC EncodecModel
        FastSpeech2ConformerModel GlmAsrEncoder GlmAsrForConditionalGeneration GraniteSpeechForConditionalGeneration
        GraniteSpeechPlusForConditionalGeneration HiggsAudioV2ForConditionalGeneration HubertForCTC LasrForCTC
        MoonshineForConditionalGeneration MoshiForCausalLM MossTranscribeDiarizeAudioModel
        MossTranscribeDiarizeForConditionalGeneration MusicFlamingoForConditionalGeneration MusicgenForCausalLM
        ParakeetForCTC Qwen2AudioEncoder Qwen2AudioForConditionalGeneration Qwen3ASRForConditionalGeneration
        SEWDForCTC SEWForCTC Speech2TextForConditionalGeneration SpeechT5ForSpeechToText UniSpeechForCTC
        UniSpeechSatForCTC VoxtralEncoder VoxtralForConditionalGeneration VoxtralRealtimeEncoder Wav2Vec2BertForCTC
        Wav2Vec2ConformerForCTC Wav2Vec2ForCTC WavLMForCTC WhisperForConditionalGeneration
    """,
    "vision": """
        Aimv2VisionModel BeitForImageClassification BitForImageClassification CLIPForImageClassification
        CLIPVisionModel ChineseCLIPVisionModel ConvNextForImageClassification ConvNextV2ForImageClassification
        CvtForImageClassification DINOv3ConvNextModel DINOv3ViTModel DPTModel Data2VecVisionForImageClassification
        DeiTForImageClassification Dinov2ForImageClassification Dinov2WithRegistersForImageClassification
        DonutSwinForImageClassification EfficientNetForImageClassification FocalNetForImageClassification GLPNModel
        HGNetV2ForImageClassification HieraForImageClassification IJepaForImageClassification
        ImageGPTForImageClassification InternVLVisionModel MLCDVisionModel MetaClip2ForImageClassification
        MgpstrForSceneTextRecognition MobileNetV1ForImageClassification MobileNetV2ForImageClassification
        MobileViTForImageClassification MobileViTV2ForImageClassification PixioModel PixtralVisionModel
        PoolFormerForImageClassification PvtForImageClassification PvtV2ForImageClassification QianfanOCRVisionModel
        RadioModel RegNetForImageClassification ResNetForImageClassification Sam3ViTModel Sam3VisionModel
        SamHQVisionModel SamVisionModel Sapiens2Model SegformerForImageClassification SiglipForImageClassification
        SiglipVisionModel SwiftFormerForImageClassification Swin2SRModel SwinForImageClassification
        Swinv2ForImageClassification TextNetForImageClassification TimesformerModel Tipsv2VisionModel VJEPA2Model
        ViTForImageClassification ViTMAEModel ViTMSNForImageClassification VideoMAEModel VitDetModel VivitModel
    """,
    "detection": """
        ConditionalDetrForObjectDetection DabDetrForObjectDetection DeformableDetrForObjectDetection
        DetrForObjectDetection GroundingDinoModel OwlViTModel Owlv2Model RTDetrForObjectDetection
        RTDetrV2ForObjectDetection TableTransformerForObjectDetection YolosForObjectDetection
    """,
    "multimodal": """
        Aimv2Model AltCLIPModel AriaForConditionalGeneration AyaVisionForConditionalGeneration
        BlipForConditionalGeneration CLIPSegModel ChineseCLIPModel Cohere2VisionForConditionalGeneration
        Cosmos3OmniForConditionalGeneration DeepseekVLForConditionalGeneration
        DeepseekVLHybridForConditionalGeneration EvollaForProteinText2Text Exaone4_5_ForConditionalGeneration
        FlavaModel Gemma3ForConditionalGeneration GitForCausalLM Glm4vForConditionalGeneration
        GotOcr2ForConditionalGeneration GraniteDoclingForConditionalGeneration GroupViTModel
        HyperCLOVAXVisionV2ForConditionalGeneration Idefics2ForConditionalGeneration Idefics3ForConditionalGeneration
        IdeficsForVisionText2Text InternVLForConditionalGeneration Kosmos2_5ForConditionalGeneration
        Lfm2VlForConditionalGeneration LightOnOcrForConditionalGeneration LlavaForConditionalGeneration
        LlavaNextForConditionalGeneration LlavaNextVideoForConditionalGeneration
        LlavaOnevisionForConditionalGeneration LxmertModel MiniMaxM3SparseForConditionalGeneration
        Mistral3ForConditionalGeneration MllamaForCausalLM Ovis2ForConditionalGeneration
        PaliGemmaForConditionalGeneration Phi4MultimodalForCausalLM QianfanOCRForConditionalGeneration
        Qwen2VLForConditionalGeneration Qwen2_5_VLForConditionalGeneration Qwen3VLForConditionalGeneration
        Qwen3VLMoeForConditionalGeneration SmolVLMForConditionalGeneration Tipsv2Model
        UnlimitedOcrForConditionalGeneration VideoLlama3ForConditionalGeneration VideoLlavaForConditionalGeneration
        ViltModel VipLlavaForConditionalGeneration VisionTextDualEncoderModel VisualBertModel
    """,
    "time series": """
        PatchTSMixerModel PatchTSTModel
    """,
}

SMALL: Mapping[str, int] = {
    "attention_head_dim": 8,
    "bos_token_id": 1,
    "d_ff": 48,
    "d_inner": 48,
    "d_kv": 8,
    "d_model": 32,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "decoder_layers": 2,
    "decoder_start_token_id": 1,
    "depth": 2,
    "dim": 32,
    "embed_dim": 32,
    "embedding_size": 32,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "encoder_layers": 2,
    "encoder_num_hidden_layers": 2,
    "eos_token_id": 2,
    "ffn_dim": 48,
    "head_dim": 8,
    "hidden_dim": 48,
    "hidden_size": 32,
    "image_size": 32,
    "intermediate_size": 48,
    "kv_lora_rank": 16,
    "linear_key_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_value_head_dim": 8,
    "max_position_embeddings": 64,
    "max_source_positions": 16,
    "max_target_positions": 64,
    "moe_intermediate_size": 16,
    "moe_num_experts": 4,
    "moe_topk": 2,
    "n_ctx": 64,
    "n_embd": 32,
    "n_group": 1,
    "n_head": 4,
    "n_heads": 4,
    "n_inner": 48,
    "n_layer": 2,
    "n_layers": 2,
    "n_positions": 64,
    "n_routed_experts": 4,
    "num_attention_heads": 4,
    "num_decoder_layers": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_layers": 2,
    "num_local_experts": 4,
    "num_mel_bins": 16,
    "out_hidden_size": 32,
    "pad_token_id": 0,
    "patch_size": 8,
    "projection_dim": 16,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "shared_expert_intermediate_size": 16,
    "state_size": 8,
    "top_k": 2,
    "topk_group": 1,
    "v_head_dim": 8,
    "vocab_size": 100,
}
"""Sizes that many configurations have under the same name; a list stays as it is."""

OWN_KEYS = {"num_key_value_heads": 4}
HALVES = {"layer_types": ["linear_attention", "full_attention"]}
THREE_AXES = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}
WINDOWS = {"embed_dim": 24, "patch_size": 4, "window_size": 4, "num_heads": [3, 3], "depths": [1, 1]}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage4"],
}
PYRAMID = {**RESNET, "out_features": ["stage2", "stage3", "stage4"]}
RT_DETR = {
    "backbone_config": {**PYRAMID, "model_type": "rt_detr_resnet"},
    "encoder_in_channels": [8, 16, 16],
    "encoder_hidden_dim": 32,
    "decoder_in_channels": [32, 32, 32],
    "feat_strides": [8, 16, 32],
    "num_feature_levels": 3,
    "decoder_n_points": 2,
    "num_queries": 10,
    "encoder_layers": 1,
    "d_model": 32,
}
FINDS_TEN = {"backbone_config": RESNET, "num_queries": 10}

SIZES: Mapping[str, Mapping[str, Any]] = {
    "ASTModel": {"max_length": 32, "num_mel_bins": 16, "patch_size": 8, "frequency_stride": 8, "time_stride": 8},
    "AXK1ForCausalLM": OWN_KEYS,
    "BailingHybridForCausalLM": {**OWN_KEYS, "num_hidden_layers": 8},
    "BambaForCausalLM": {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "attn_layer_indices": [1]},
    "BitForImageClassification": {**STAGES, "embedding_size": 8, "num_groups": 4},
    "BlipForConditionalGeneration": {"text_config": {"encoder_hidden_size": 32}},
    "CodeGenForCausalLM": {"rotary_dim": 4},
    "ConditionalDetrForObjectDetection": FINDS_TEN,
    "ConvNextForImageClassification": {**STAGES, "patch_size": 4},
    "ConvNextV2ForImageClassification": {**STAGES, "patch_size": 4},
    "DINOv3ConvNextModel": STAGES,
    "DabDetrForObjectDetection": FINDS_TEN,
    "DacModel": {"encoder_hidden_size": 4, "decoder_hidden_size": 64, "codebook_dim": 4, "codebook_size": 16},
    "DeepseekV2ForCausalLM": OWN_KEYS,
    "DeepseekV32ForCausalLM": OWN_KEYS,
    "DeepseekV3ForCausalLM": OWN_KEYS,
    "DeformableDetrForObjectDetection": {"backbone_config": PYRAMID, "num_queries": 10},
    "DetrForObjectDetection": FINDS_TEN,
    "DonutSwinForImageClassification": WINDOWS,
    "Dots1ForCausalLM": {"n_shared_experts": 1},
    "EfficientNetForImageClassification": {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
    "EncodecModel": {"num_filters": 4, "hidden_size": 16},
    "Ernie4_5_MoeForCausalLM": {"moe_k": 2},
    "EsmcForMaskedLM": OWN_KEYS,
    "FlaubertWithLMHeadModel": {"emb_dim": 32},
    "GPT2LMHeadModel": {"n_inner": 128},
    "GPTJForCausalLM": {"rotary_dim": 4},
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local"], 1]]},
    "Glm4MoeLiteForCausalLM": OWN_KEYS,
    "Glm4vForConditionalGeneration": {
        "text_config": {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [1, 1, 2],
                "partial_rotary_factor": 1.0,
            }
        }
    },
    "GlmMoeDsaForCausalLM": OWN_KEYS,
    "GraniteMoeHybridForCausalLM": {
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_d_state": 8,
        "layer_types": ["mamba", "attention"],
    },
    "GroundingDinoModel": {
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
            "window_size": 2,
            "patch_size": 4,
            "out_features": ["stage2", "stage3", "stage4"],
        },
        "text_config": {
            "model_type": "bert",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "vocab_size": 2000,
        },
        "num_queries": 10,
        "max_text_len": 16,
    },
    "Idefics3ForConditionalGeneration": {"image_token_id": 90, "scale_factor": 2},
    "InternVLForConditionalGeneration": {"image_token_id": 90},
    "JambaForCausalLM": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
    },
    "KimiLinearForCausalLM": {**HALVES, **OWN_KEYS},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "Lfm3ForCausalLM": {"num_hidden_layers": 4},
    "LiltModel": {"channel_shrink_ratio": 4, "hidden_size": 48, "num_attention_heads": 4},
    "LlavaForConditionalGeneration": {"image_token_index": 90, "image_token_id": 90},
    "LongcatFlashForCausalLM": {**OWN_KEYS, "zero_expert_num": 1, "ffn_hidden_size": 48, "expert_ffn_hidden_size": 16},
    "LukeForMaskedLM": {"entity_vocab_size": 10, "entity_emb_size": 16},
    "LxmertModel": {"visual_feat_dim": 24},
    "Mamba2ForCausalLM": {"num_heads": 8, "n_groups": 2, "chunk_size": 8},
    "MiniCPM3ForCausalLM": OWN_KEYS,
    "Mistral4ForCausalLM": OWN_KEYS,
    "MobileViTV2ForImageClassification": {"image_size": 64, "patch_size": 2},
    "PaliGemmaForConditionalGeneration": {
        "projection_dim": 32,
        "vision_config": {"projection_dim": 32},
        "image_token_index": 90,
        "image_token_id": 90,
    },
    "PerceiverForMaskedLM": {
        "num_latents": 8,
        "d_latents": 32,
        "d_model": 32,
        "num_self_attends_per_block": 2,
        "num_cross_attention_heads": 4,
        "num_self_attention_heads": 4,
    },
    "Qwen2VLForConditionalGeneration": {
        "text_config": THREE_AXES,
        "vision_config": {"embed_dim": 32, "hidden_size": 32, "spatial_merge_size": 2},
        "image_token_id": 90,
        "vision_start_token_id": 91,
        "video_token_id": 92,
    },
    "Qwen2_5_VLForConditionalGeneration": {
        "text_config": THREE_AXES,
        "vision_config": {"window_size": 16, "fullatt_block_indexes": [1]},
        "image_token_id": 90,
        "vision_start_token_id": 91,
        "video_token_id": 92,
    },
    "Qwen3NextForCausalLM": HALVES,
    "Qwen3_5ForCausalLM": HALVES,
    "Qwen3_5MoeForCausalLM": HALVES,
    "RTDetrForObjectDetection": RT_DETR,
    "RTDetrV2ForObjectDetection": RT_DETR,
    "RecurrentGemmaForCausalLM": {"num_hidden_layers": 3, "lru_width": 32},
    "ReformerModelWithLMHead": {
        "is_decoder": True,
        "axial_pos_shape": [4, 4],
        "axial_pos_embds_dim": [16, 16],
        "attn_layers": ["local", "lsh"],
        "num_buckets": 2,
        "local_attn_chunk_length": 4,
        "lsh_attn_chunk_length": 4,
        "feed_forward_size": 48,
    },
    "RegNetForImageClassification": {**STAGES, "embedding_size": 8, "groups_width": 8},
    "ResNetForImageClassification": {**STAGES, "embedding_size": 8},
    "SmolVLMForConditionalGeneration": {"image_token_id": 90, "scale_factor": 2},
    "Speech2TextForConditionalGeneration": {"input_feat_per_channel": 16, "conv_channels": 32},
    "Swin2SRModel": {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "patch_size": 1},
    "SwinForImageClassification": WINDOWS,
    "Swinv2ForImageClassification": WINDOWS,
    "TableTransformerForObjectDetection": FINDS_TEN,
    "VJEPA2Model": {
        "crop_size": 32,
        "frames_per_clip": 4,
        "pred_hidden_size": 16,
        "pred_num_attention_heads": 2,
        "pred_num_hidden_layers": 1,
    },
    "Wav2Vec2BertForCTC": {"feature_projection_input_dim": 32},
    "XLMWithLMHeadModel": {"emb_dim": 32},
    "XmodForCausalLM": {"default_language": "en_XX"},
    "YolosForObjectDetection": {"num_detection_tokens": 10},
    "ZayaForCausalLM": {"num_experts_per_tok": 1},
}
"""What a configuration needs beside SMALL, or a part of it by the part's name."""

TEXT = {"input_ids": (2, 16)}
IMAGE = {"pixel_values": (2, 3, 32, 32)}
LARGER = {"pixel_values": (2, 3, 64, 64)}
FRAMES = {"input_features": (2, 32, 16)}
WORDS = [*range(3, 11)]
SEEN = 90
"""The word that stands for a part of an image."""
GRID = {
    "input_ids": [[91, *4 * [SEEN], *WORDS]],
    "pixel_values": (16, 384),
    "image_grid_thw": [[1, 4, 4]],
    "mm_token_type_ids": [[0, *4 * [1], *8 * [0]]],
}

INPUTS: Mapping[str, Mapping[str, Any]] = {
    "ASTModel": {"input_values": (2, 32, 16)},
    "BlipForConditionalGeneration": {**TEXT, **IMAGE},
    "ConditionalDetrForObjectDetection": LARGER,
    "ConvNextForImageClassification": LARGER,
    "ConvNextV2ForImageClassification": LARGER,
    "DabDetrForObjectDetection": LARGER,
    "DacModel": {"input_values": (2, 1, 1600)},
    "DeformableDetrForObjectDetection": LARGER,
    "DetrForObjectDetection": LARGER,
    "EfficientNetForImageClassification": LARGER,
    "EncodecModel": {"input_values": (2, 1, 1600)},
    "GroundingDinoModel": {**TEXT, **LARGER},
    "Idefics3ForConditionalGeneration": {"input_ids": 2 * [[*4 * [SEEN], *WORDS]], "pixel_values": (2, 1, 3, 32, 32)},
    "IdeficsForVisionText2Text": {
        **TEXT,
        "pixel_values": (2, 1, 3, 32, 32),
        "attention_mask": (2, 16),
        "image_attention_mask": (2, 16, 1),
    },
    "InternVLForConditionalGeneration": {**IMAGE, "input_ids": 2 * [[SEEN, *WORDS]]},
    "LasrForCTC": FRAMES,
    "LiltModel": {**TEXT, "bbox": 2 * [16 * [4 * [0]]]},
    "LlavaForConditionalGeneration": {**IMAGE, "input_ids": 2 * [[*16 * [SEEN], *WORDS]]},
    "LxmertModel": {**TEXT, "visual_feats": (2, 6, 24), "visual_pos": (2, 6, 4)},
    "MobileViTV2ForImageClassification": LARGER,
    "MusicgenForCausalLM": {"input_ids": (8, 16)},
    "PaliGemmaForConditionalGeneration": {**IMAGE, "input_ids": 2 * [[*16 * [SEEN], *WORDS]]},
    "ParakeetForCTC": FRAMES,
    "PatchTSMixerModel": {"past_values": (2, 32, 1)},
    "PatchTSTModel": {"past_values": (2, 32, 1)},
    "PerceiverForMaskedLM": {"inputs": 2 * [[*range(3, 19)]]},
    "Qwen2VLForConditionalGeneration": GRID,
    "Qwen2_5_VLForConditionalGeneration": GRID,
    "RTDetrForObjectDetection": LARGER,
    "RTDetrV2ForObjectDetection": LARGER,
    "SmolVLMForConditionalGeneration": {"input_ids": 2 * [[*4 * [SEEN], *WORDS]], "pixel_values": (2, 1, 3, 32, 32)},
    "Speech2TextForConditionalGeneration": {**FRAMES, "decoder_input_ids": (2, 8)},
    "TableTransformerForObjectDetection": LARGER,
    "UdopForConditionalGeneration": {**TEXT, "bbox": (2, 16, 4), "decoder_input_ids": (2, 8)},
    "VJEPA2Model": {"pixel_values_videos": (1, 4, 3, 32, 32)},
    "ViltModel": {**TEXT, **IMAGE, "attention_mask": (2, 16)},
}
"""Inputs by name: a shape, or a list of figures. A generator that is not named here reads a text without images."""
